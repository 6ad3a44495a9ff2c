view: shipments {
  sql_table_name: retail.shipments ;;
  dimension: id { primary_key: yes type: number }
  dimension: order_id { type: number hidden: yes }
  dimension: carrier {}
  dimension: weight_kg { type: number sql: ${TABLE}.weight_g / 1000.0 ;; }
  dimension_group: shipped { type: time sql: ${TABLE}.shipped_at ;; }
  measure: count { type: count }
  measure: weight { type: sum sql: ${weight_kg} ;; }
  measure: heavy { type: count filters: [weight_kg: ">2 AND <=20"] }
  measure: by_air_or_courier { type: count filters: [carrier: "-Ground,-\"Sea, slow\""] }
}
