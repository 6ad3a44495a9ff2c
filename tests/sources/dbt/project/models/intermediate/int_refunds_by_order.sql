select order_id, sum(amount) as refunded_amount
from {{ ref('stg_shop__refunds') }}
group by order_id
