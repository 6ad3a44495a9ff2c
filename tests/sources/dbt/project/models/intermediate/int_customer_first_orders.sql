select customer_id, min(ordered_at) as first_ordered_at, count(*) as order_count
from {{ ref('stg_shop__orders') }}
where status <> 'cancelled'
group by customer_id
