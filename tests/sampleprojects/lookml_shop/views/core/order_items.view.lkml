view: order_items {
  sql_table_name: retail.order_items ;;

  dimension: pk {
    primary_key: yes
    hidden: yes
    sql: CONCAT(CAST(${TABLE}.order_id AS VARCHAR), '-', CAST(${TABLE}.line_no AS VARCHAR)) ;;
  }
  dimension: order_id { type: number hidden: yes }
  dimension: line_no { type: number }
  dimension: product_id { type: number hidden: yes }
  dimension: quantity { type: number }
  dimension: line_total { type: number sql: ${quantity} * ${TABLE}.unit_price ;; }
  dimension: margin {
    description: "What is left after the purchase price of the product."
    type: number
    sql: ${line_total} - ${quantity} * ${products.cost} ;;
  }
  dimension: is_returned { type: yesno sql: ${returns.return_id} IS NOT NULL ;; }

  measure: count { type: count }
  measure: units { type: sum sql: ${quantity} ;; }
  measure: sales { type: sum sql: ${line_total} ;; }
  measure: total_margin { type: sum sql: ${margin} ;; }
  measure: cost_of_goods { type: sum sql: ${quantity} * ${products.cost} ;; }
  measure: margin_rate { type: number sql: ${total_margin} / NULLIF(${sales}, 0) ;; }
  measure: sales_per_order { type: number sql: ${sales} / NULLIF(${orders.count}, 0) ;; }
  measure: german_sales { type: sum sql: ${line_total} ;; filters: [customers.country: "DE"] }
  measure: toy_units { type: sum sql: ${quantity} ;; filters: [products.category_name: "Toys,Games"] }
}
