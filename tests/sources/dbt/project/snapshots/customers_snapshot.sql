{% snapshot customers_snapshot %}

{{ config(unique_key='id', strategy='check', check_cols=['country', 'email']) }}

select * from {{ source('shop', 'customers') }}

{% endsnapshot %}
