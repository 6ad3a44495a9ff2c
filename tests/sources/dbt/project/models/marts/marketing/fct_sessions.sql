select session_id, visitor, customer_id, campaign_id, device, started_at, page_count, has_bought
from {{ ref('int_sessions_attributed') }}
