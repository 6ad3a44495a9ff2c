# Finance owns these; the base view belongs to the shop team.
include: "/views/core/orders.view"

view: +orders {
  dimension: net_amount {
    description: "After discounts, before returns."
    type: number
    sql: ${gross_amount} - COALESCE(${TABLE}.discount_cents, 0) / 100.0 ;;
  }
  measure: gross_revenue { label: "Gross Revenue (GAAP)" }
  measure: net_revenue {
    description: "Paid orders after discounts. The number that the board sees."
    type: sum
    sql: ${net_amount} ;;
    filters: [status: "@{PAID_STATES}"]
  }
  measure: net_share { type: number sql: ${net_revenue} / NULLIF(${gross_revenue}, 0) ;; }
}

explore: +orders {
  tags: ["finance"]
}
