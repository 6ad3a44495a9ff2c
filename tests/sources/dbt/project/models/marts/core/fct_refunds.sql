select refund_id, order_id, amount, reason, refunded_on
from {{ ref('stg_shop__refunds') }}
