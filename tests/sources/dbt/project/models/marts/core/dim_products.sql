select product_id, product_name, coalesce(category_name, 'none') as category, cost, is_active
from {{ ref('int_products_with_category') }}
