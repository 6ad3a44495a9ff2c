include: "product_base.view"

view: products {
  extends: [product_base]
  sql_table_name: retail.products ;;

  dimension: cost { hidden: no  label: "Unit Cost" }
  dimension: list_price { type: number }
  dimension: category_id { type: number hidden: yes }
  dimension: category_name { sql: ${categories.name} ;; }
  dimension: markup { type: number sql: ${list_price} / NULLIF(${cost}, 0) - 1 ;; }
  dimension: is_premium { type: yesno sql: ${list_price} > 80 ;; }

  measure: count { label: "Products" }
  measure: premium_count { type: count filters: [is_premium: "Yes"] }
  measure: average_markup { type: average sql: ${markup} ;; }
  measure: top_price { type: max sql: ${list_price} ;; }
}
