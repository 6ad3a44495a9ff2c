with source as (

    select * from {{ source('web', 'sessions') }}

)

select
    id as session_id,
    visitor,
    customer_id,
    campaign_id,
    device,
    cast(started_at as timestamp) as started_at
from source
