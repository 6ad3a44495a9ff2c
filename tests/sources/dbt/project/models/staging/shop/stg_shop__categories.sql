with source as (

    select * from {{ source('shop', 'categories') }}

)

select
    id as category_id,
    name as category_name
from source
