with source as (

    select * from {{ source('shop', 'addresses') }}

)

select
    id as address_id,
    customer_id,
    city,
    country
from source
