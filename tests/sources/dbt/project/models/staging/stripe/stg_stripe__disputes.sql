with source as (

    select * from {{ source('stripe', 'disputes') }}

)

select
    id as dispute_id,
    payment_id,
    state
from source
