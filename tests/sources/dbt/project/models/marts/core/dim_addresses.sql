select * from {{ ref('stg_shop__addresses') }}
