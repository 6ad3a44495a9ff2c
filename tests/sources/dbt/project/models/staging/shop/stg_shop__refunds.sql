with source as (

    select * from {{ source('shop', 'refunds') }}

)

select
    id as refund_id,
    order_id,
    amount,
    reason,
    cast(refunded_at as date) as refunded_on
from source
