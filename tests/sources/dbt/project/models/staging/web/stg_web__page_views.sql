with source as (

    select * from {{ source('web', 'page_views') }}

)

select
    session_id,
    path,
    cast(viewed_at as timestamp) as viewed_at
from source
