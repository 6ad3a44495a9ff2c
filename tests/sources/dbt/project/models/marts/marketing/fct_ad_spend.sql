select campaign_id, spend_day, cost
from {{ ref('stg_ads__spend') }}
