select c.campaign_name, count(distinct s.session_id) as sessions, (select sum(cost) from {{ ref('fct_ad_spend') }} as a where a.campaign_id = c.campaign_id) as cost
from {{ ref('dim_campaigns') }} as c
left join {{ ref('fct_sessions') }} as s using (campaign_id)
group by c.campaign_id, c.campaign_name
