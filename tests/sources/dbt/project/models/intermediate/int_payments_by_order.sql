{{ config(materialized='ephemeral') }}

select order_id, sum(amount) as paid_amount, count(*) as payment_count
from {{ ref('stg_stripe__payments') }}
where is_captured
group by order_id
