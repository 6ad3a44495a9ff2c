select
    order_id,
    line_no,
    product_id,
    quantity,
    unit_price,
    coalesce(discount, 0) as discount,
    -- a discount is a share of the line, and never makes it negative
    greatest(quantity * unit_price * (1 - coalesce(discount, 0)), 0) as line_amount
from {{ ref('stg_shop__order_items') }}
