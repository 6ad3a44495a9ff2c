with source as (

    select * from {{ source('ads', 'spend') }}

)

select
    campaign_id,
    cast(day as date) as spend_day,
    cost
from source
