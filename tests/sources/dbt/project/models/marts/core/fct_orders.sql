{{
    config(
        materialized='incremental',
        unique_key='order_id',
        tags=['hourly']
    )
}}

{# Orders of test accounts are taken out upstream, by the shop. #}
select
    o.order_id,
    o.customer_id,
    o.billing_address_id,
    o.shipping_address_id,
    o.status,
    o.channel,
    o.ordered_at,
    coalesce(t.order_amount, 0) as order_amount,
    t.item_count,
    p.paid_amount,
    r.refunded_amount
from {{ ref('stg_shop__orders') }} as o
left join {{ ref('int_order_totals') }} as t using (order_id)
left join {{ ref('int_payments_by_order') }} as p using (order_id)
left join {{ ref('int_refunds_by_order') }} as r using (order_id)
{% if is_incremental() %}
where o.ordered_at > (select max(ordered_at) from {{ this }})
{% endif %}
