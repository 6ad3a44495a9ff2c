select
    cast(ordered_at as date) as revenue_day,
    sum(order_amount) as gross_revenue,
    sum(case when status <> 'cancelled' then order_amount end) as revenue,
    count(*) as orders
from {{ ref('fct_orders') }}
group by 1
