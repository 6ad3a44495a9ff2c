view: employees {
  sql_table_name: retail.employees ;;
  dimension: employee_id { primary_key: yes type: number sql: ${TABLE}.id ;; }
  dimension: manager_id { type: number hidden: yes }
  dimension: store_id { type: number hidden: yes }
  dimension: full_name { sql: ${TABLE}.full_name ;; }
  dimension: salary { type: number hidden: yes }
  measure: headcount { type: count }
  measure: payroll { type: sum sql: ${salary} ;; }
}
