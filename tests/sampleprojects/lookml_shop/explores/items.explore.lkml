explore: order_items {
  description: "One row per line of an order."
  join: orders { relationship: many_to_one sql_on: ${order_items.order_id} = ${orders.order_id} ;; }
  join: customers { relationship: many_to_one sql_on: ${orders.customer_id} = ${customers.id} ;; }
  join: products { relationship: many_to_one foreign_key: product_id }
  join: categories { relationship: many_to_one sql_on: ${products.category_id} = ${categories.id} ;; }
  join: parent_categories {
    from: categories
    relationship: many_to_one
    sql_on: ${categories.parent_id} = ${parent_categories.id} ;;
  }
  join: returns {
    relationship: one_to_one
    sql_on: ${order_items.order_id} = ${returns.order_id} AND ${order_items.line_no} = ${returns.line_no} ;;
  }
  join: price_bands {
    relationship: many_to_many
    sql_on: ${products.list_price} BETWEEN ${price_bands.low} AND ${price_bands.high} ;;
  }
  join: web_events { relationship: many_to_one sql_on: ${orders.order_id} = ${web_events.id} ;; }
}

explore: returns {
  join: order_items {
    relationship: one_to_one
    sql_on: ${returns.order_id} = ${order_items.order_id} AND ${returns.line_no} = ${order_items.line_no} ;;
  }
  join: buyer_orders {
    from: orders
    view_label: "Orders"
    relationship: many_to_one
    sql_on: ${returns.order_id} = ${buyer_orders.order_id} ;;
  }
}

explore: shipments {
  join: orders { relationship: one_to_one sql_on: ${orders.order_id} = ${shipments.order_id} ;; }
}
explore: country_value { hidden: yes }
explore: web_events {}
