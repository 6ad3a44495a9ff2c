view: daily_orders {
  derived_table: {
    explore_source: orders {
      column: created_date {}
      column: gross_revenue {}
    }
  }
  dimension: created_date { type: date primary_key: yes }
  measure: best_day { type: max sql: ${TABLE}.gross_revenue ;; }
}
