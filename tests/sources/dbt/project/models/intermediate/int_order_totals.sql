select
    order_id,
    sum(line_amount) as order_amount,
    sum(quantity) as item_count
from {{ ref('int_order_items_priced') }}
group by order_id
