select product_id, site, stock_day, on_hand
from {{ ref('stg_shop__stock_levels') }}
