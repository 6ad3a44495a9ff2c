view: country_value {
  derived_table: {
    sql:
      SELECT c.country_code AS country, SUM(f.lifetime_value) AS value, COUNT(*) AS customers
      FROM ${customers.SQL_TABLE_NAME} AS c
      JOIN ${customer_facts.SQL_TABLE_NAME} AS f ON f.customer_id = c.id
      GROUP BY 1 ;;
  }
  dimension: country { primary_key: yes }
  measure: total_value { type: sum sql: ${TABLE}.value ;; }
  measure: buyers { type: sum sql: ${TABLE}.customers ;; }
}
