select id, name, segment, country
from {{ source('app', 'customers') }}
