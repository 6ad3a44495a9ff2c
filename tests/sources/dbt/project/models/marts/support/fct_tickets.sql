select ticket_id, customer_id, agent_id, topic, opened_at, closed_at, hours_to_close
from {{ ref('int_tickets_resolved') }}
