select visitor, min(started_at) as first_seen_at, count(*) as sessions
from {{ ref('fct_sessions') }}
group by visitor
