view: orders {
  sql_table_name: @{SCHEMA}.orders ;;
  label: "Orders"

  dimension: order_id {
    primary_key: yes
    hidden: yes
    type: number
    sql: ${TABLE}.id ;;
  }

  dimension: customer_id { hidden: yes type: number sql: ${TABLE}.customer_id ;; }
  dimension: store_id    { hidden: yes type: number }

  dimension: status {
    description: "Where the order stands: placed, paid, shipped, delivered or cancelled."
    tags: ["lifecycle"]
    sql: ${TABLE}.status ;;
  }

  dimension_group: created {
    label: "Order"
    description: "When the customer pressed the button, in UTC."
    type: time
    timeframes: [raw, time, date, week, month, quarter, year]
    sql: ${TABLE}.created_at ;;
  }

  dimension_group: delivered {
    type: time
    timeframes: [raw, date]
    datatype: date
    convert_tz: no
    sql: ${TABLE}.delivered_on ;;
  }

  dimension_group: to_delivery {
    type: duration
    intervals: [day, hour]
    sql_start: ${created_raw} ;;
    sql_end: ${delivered_raw} ;;
  }

  dimension: discount_code { sql: NULLIF(TRIM(${TABLE}.discount_code), '') ;; }

  dimension: is_discounted {
    type: yesno
    description: "Whether a code was used."
    sql: ${discount_code} IS NOT NULL ;;
  }

  dimension: gross_amount {
    type: number
    value_format_name: usd
    sql: ${TABLE}.gross_cents / 100.0 ;;
  }

  dimension: size_tier {
    label: "Order Size"
    type: tier
    tiers: [0, 50, 100, 250]
    style: integer
    sql: ${gross_amount} ;;
  }

  dimension: lifecycle {
    case: {
      when: { sql: ${status} = 'cancelled' ;;  label: "Lost" }
      when: { sql: ${status} IN ('shipped', 'delivered') ;;  label: "On its \"way\"" }
      else: "Open"
    }
  }

  dimension: fiscal_year {
    type: number
    sql: EXTRACT(YEAR FROM ${TABLE}.created_at) + CASE WHEN EXTRACT(MONTH FROM ${TABLE}.created_at) >= 7 THEN 1 ELSE 0 END ;;
  }

  dimension: loyalty_points { type: number sql: ${TABLE}.points_that_were_dropped ;; }

  dimension: currency_view {
    sql: {% if currency._parameter_value == 'EUR' %} ${TABLE}.gross_cents * 0.9 {% else %} ${TABLE}.gross_cents {% endif %} ;;
  }

  parameter: currency {
    type: unquoted
    allowed_value: { label: "Euro"  value: "EUR" }
    allowed_value: { label: "Dollar"  value: "USD" }
  }

  measure: count {
    type: count
    drill_fields: [detail*]
  }

  measure: paid_count {
    label: "Paid Orders"
    type: count
    filters: [status: "@{PAID_STATES}"]
  }

  measure: not_cancelled_count {
    type: count
    filters: { field: status  value: "-cancelled" }
  }

  measure: big_discounted_count {
    type: count
    filters: [is_discounted: "yes", gross_amount: ">=100"]
  }

  measure: spring_count {
    description: "Orders of March to May 2024."
    type: count
    filters: [created_date: "2024-03-01 to 2024-06-01"]
  }

  measure: this_week_count {
    type: count
    filters: [created_date: "7 days"]
  }

  measure: gross_revenue {
    description: "All orders before discounts and returns, cancelled ones too."
    type: sum
    value_format_name: usd
    sql: ${gross_amount} ;;
  }

  measure: average_order { type: average sql: ${gross_amount} ;; }
  measure: median_order { type: median sql: ${gross_amount} ;; }
  measure: p90_order { type: percentile percentile: 90 sql: ${gross_amount} ;; }
  measure: first_order_at { type: date sql: MIN(${created_raw}) ;; }
  measure: smallest_order { type: min sql: ${gross_amount} ;; }
  measure: largest_order { type: max sql: ${gross_amount} ;; }
  measure: customers { type: count_distinct sql: ${customer_id} ;; }

  measure: paid_share {
    description: "Share of orders that were paid for."
    type: number
    value_format_name: percent_1
    sql: 1.0 * ${paid_count} / NULLIF(${count}, 0) ;;
  }

  measure: paid_share_label {
    type: string
    sql: CASE WHEN ${paid_share} > 0.5 THEN 'fine' ELSE 'poor' END ;;
  }

  measure: gross_by_order_key {
    type: sum_distinct
    sql_distinct_key: ${order_id} ;;
    sql: ${gross_amount} ;;
  }

  measure: gross_by_customer_key {
    type: sum_distinct
    sql_distinct_key: ${customer_id} ;;
    sql: ${gross_amount} ;;
  }

  measure: orders_per_customer {
    type: number
    sql: ${count}::float / NULLIF(${customers.count}, 0) ;;
  }

  measure: running_revenue { type: running_total sql: ${gross_revenue} ;; }
  measure: statuses { type: list list_field: status }

  set: detail { fields: [order_id, created_time, status, customers.name] }
}
