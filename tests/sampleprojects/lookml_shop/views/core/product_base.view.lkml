view: product_base {
  extension: required

  dimension: id { primary_key: yes type: number sql: ${TABLE}.id ;; }
  dimension: title { description: "As printed on the box." }
  dimension: cost { type: number description: "Purchase price." hidden: yes }
  measure: count { type: count description: "How many there are." }
}
