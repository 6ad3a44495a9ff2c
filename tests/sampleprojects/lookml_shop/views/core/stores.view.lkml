view: stores {
  sql_table_name: retail.stores ;;
  dimension: id { primary_key: yes type: number }
  dimension: city { description: "Where it is; \"Online\" for the web shop." }
  dimension_group: opened { type: time timeframes: [date, year] datatype: date sql: ${TABLE}.opened_on ;; }
  dimension: age_band { case: { when: { sql: ${opened_year} < 2015 ;; label: "old" } else: "new" } }
  measure: count { type: count }
  measure: old_count { type: count filters: [age_band: "old"] }
}
