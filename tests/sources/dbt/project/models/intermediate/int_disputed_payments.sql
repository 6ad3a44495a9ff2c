select p.payment_id, d.state as dispute_state
from {{ ref('stg_stripe__payments') }} as p
join {{ ref('stg_stripe__disputes') }} as d using (payment_id)
