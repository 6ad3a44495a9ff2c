-- One row per order. An order is a buyer's once it is completed; cancelled ones stay for the record.
select id, customer_id, ordered_at, status, channel
from {{ source('app', 'orders') }}
