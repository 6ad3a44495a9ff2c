with source as (

    select * from {{ source('shop', 'stock_levels') }}

)

select
    product_id,
    site,
    cast(day as date) as stock_day,
    on_hand
from source
