with source as (

    select * from {{ source('helpdesk', 'agents') }}

)

select
    id as agent_id,
    name as agent_name,
    team,
    manager_id
from source
