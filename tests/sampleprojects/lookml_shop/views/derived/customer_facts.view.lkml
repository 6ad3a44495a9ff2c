view: customer_facts {
  derived_table: {
    datagroup_trigger: nightly
    sql:
      SELECT
        customer_id,
        COUNT(*) AS lifetime_orders,
        SUM(gross_cents) / 100.0 AS lifetime_value,
        MIN(created_at) AS first_order_at
      FROM retail.orders
      WHERE status <> 'cancelled'
      GROUP BY 1 ;;
  }
  dimension: customer_id { primary_key: yes type: number hidden: yes }
  dimension: lifetime_orders { type: number }
  dimension: lifetime_value { type: number }
  dimension: is_repeat { type: yesno sql: ${lifetime_orders} > 1 ;; }
  dimension_group: first_order { type: time timeframes: [date, month] sql: ${TABLE}.first_order_at ;; }
  measure: repeat_customers { type: count filters: [is_repeat: "yes"] }
  measure: average_lifetime_value { type: average sql: ${lifetime_value} ;; }
}
