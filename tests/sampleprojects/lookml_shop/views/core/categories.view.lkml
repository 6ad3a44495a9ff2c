view: categories {
  sql_table_name: retail.product_categories ;;
  dimension: id { primary_key: yes type: number }
  dimension: parent_id { type: number hidden: yes }
  dimension: name {}
  measure: count { type: count }
}
