select agent_id, count(*) as open_tickets
from {{ ref('fct_tickets') }}
where closed_at is null
group by agent_id
