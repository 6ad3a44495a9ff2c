{{ config(tags=['calendar']) }}

select cast(day as date) as date_day, year(day) as year, month(day) as month
from range(date '2023-01-01', date '2025-01-01', interval 1 day) as days(day)
