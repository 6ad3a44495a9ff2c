view: returns {
  sql_table_name: retail.returns ;;
  dimension: return_id { primary_key: yes type: number sql: ${TABLE}.id ;; }
  dimension: order_id { type: number hidden: yes }
  dimension: line_no { type: number hidden: yes }
  dimension: reason {}
  dimension: refund { type: number sql: ${TABLE}.refund_cents / 100.0 ;; }
  measure: count { type: count }
  measure: refunds { type: sum sql: ${refund} ;; }
  measure: damaged { type: count filters: [reason: "%damaged%, broken"] }
  measure: unexplained { type: count filters: [reason: "EMPTY"] }
}
