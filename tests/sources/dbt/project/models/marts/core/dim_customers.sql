select
    c.customer_id,
    c.email,
    c.country,
    c.registered_at,
    c.referred_by_id,
    f.first_ordered_at,
    coalesce(f.order_count, 0) as lifetime_orders,
    case when f.order_count >= 5 then 'regular' when f.order_count >= 1 then 'buyer' else 'prospect' end as segment
from {{ ref('stg_shop__customers') }} as c
left join {{ ref('int_customer_first_orders') }} as f using (customer_id)
