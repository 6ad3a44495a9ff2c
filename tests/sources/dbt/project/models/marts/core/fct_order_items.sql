select
    i.order_id,
    i.line_no,
    i.product_id,
    i.quantity,
    i.line_amount,
    i.quantity * p.cost as line_cost,
    o.ordered_at as line_ordered_at
from {{ ref('int_order_items_priced') }} as i
left join {{ ref('dim_products') }} as p using (product_id)
left join {{ ref('fct_orders') }} as o using (order_id)
