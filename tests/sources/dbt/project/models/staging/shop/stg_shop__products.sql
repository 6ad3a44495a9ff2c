with source as (

    select * from {{ source('shop', 'products') }}

)

select
    id as product_id,
    name as product_name,
    category_id,
    cost,
    is_active
from source
