with source as (

    select * from {{ source('helpdesk', 'tickets') }}

)

select
    id as ticket_id,
    customer_id,
    agent_id,
    topic,
    cast(opened_at as timestamp) as opened_at,
    cast(closed_at as timestamp) as closed_at
from source
