with source as (

    select * from {{ source('shop', 'orders') }}

)

select
    id as order_id,
    customer_id,
    billing_address_id,
    shipping_address_id,
    status,
    channel,
    cast(ordered_at as timestamp) as ordered_at
from source
