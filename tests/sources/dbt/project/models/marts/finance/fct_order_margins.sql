select o.order_id, o.ordered_at, sum(i.line_amount) as revenue, sum(i.line_cost) as cost
from {{ ref('fct_orders') }} as o
join {{ ref('fct_order_items') }} as i using (order_id)
where o.status <> 'cancelled'
group by 1, 2
