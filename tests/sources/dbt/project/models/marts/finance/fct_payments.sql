{{ config(alias='payments') }}

select p.payment_id, p.order_id, p.method, p.amount, p.is_captured, p.paid_at, d.dispute_state
from {{ ref('stg_stripe__payments') }} as p
left join {{ ref('int_disputed_payments') }} as d using (payment_id)
