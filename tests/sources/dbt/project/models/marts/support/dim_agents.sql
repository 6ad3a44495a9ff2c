select agent_id, agent_name, team, manager_id
from {{ ref('stg_helpdesk__agents') }}
