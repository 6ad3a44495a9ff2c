select p.product_id, p.product_name, c.category_name, p.cost, p.is_active
from {{ ref('stg_shop__products') }} as p
left join {{ ref('stg_shop__categories') }} as c using (category_id)
