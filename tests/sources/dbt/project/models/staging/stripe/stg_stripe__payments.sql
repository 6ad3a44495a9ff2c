with source as (

    select * from {{ source('stripe', 'payments') }}

)

select
    id as payment_id,
    order_id,
    method,
    amount_cents / 100.0 as amount,
    is_captured,
    cast(created as timestamp) as paid_at
from source
