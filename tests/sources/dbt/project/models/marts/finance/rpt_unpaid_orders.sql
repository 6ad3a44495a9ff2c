select order_id, order_amount - coalesce(paid_amount, 0) as open_amount
from {{ ref('fct_orders') }}
where status in ('placed', 'shipped') and coalesce(paid_amount, 0) < order_amount
