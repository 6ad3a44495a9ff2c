with source as (

    select * from {{ source('shop', 'customers') }}

)

select
    id as customer_id,
    lower(email) as email,
    country,
    cast(created_at as timestamp) as registered_at,
    referred_by_id
from source
