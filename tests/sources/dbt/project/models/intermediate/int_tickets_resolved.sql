select
    *,
    date_diff('hour', opened_at, closed_at) as hours_to_close
from {{ ref('stg_helpdesk__tickets') }}
