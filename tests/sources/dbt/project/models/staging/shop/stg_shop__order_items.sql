with source as (

    select * from {{ source('shop', 'order_items') }}

)

select
    order_id,
    line_no,
    product_id,
    quantity,
    unit_price,
    discount
from source
