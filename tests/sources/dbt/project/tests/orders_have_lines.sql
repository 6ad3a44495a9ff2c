-- every paid order has at least one line
select o.order_id
from {{ ref('fct_orders') }} as o
left join {{ ref('fct_order_items') }} as i using (order_id)
where o.status = 'paid' and i.order_id is null
