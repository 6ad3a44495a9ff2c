with source as (

    select * from {{ source('ads', 'campaigns') }}

)

select
    id as campaign_id,
    name as campaign_name,
    network
from source
