select
    s.*,
    count(v.path) as page_count,
    coalesce(max(case when v.path = '/thank-you' then 1 else 0 end), 0) = 1 as has_bought
from {{ ref('stg_web__sessions') }} as s
left join {{ ref('stg_web__page_views') }} as v on v.session_id = s.session_id
group by all
