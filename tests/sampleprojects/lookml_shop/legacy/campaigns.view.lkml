view: campaigns {
  sql_table_name: marketing.campaigns ;;
  dimension: id { primary_key: yes type: number sql: ${TABLE}.id ;; }
  measure: count { type: count }
}
