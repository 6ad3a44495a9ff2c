select campaign_id, campaign_name, network
from {{ ref('stg_ads__campaigns') }}
