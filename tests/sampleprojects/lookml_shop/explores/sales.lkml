include: "/views/core/*.view.lkml"

explore: orders_base {
  extension: required
  view_name: orders
  join: customers {
    type: left_outer
    relationship: many_to_one
    sql_on: ${orders.customer_id} = ${customers.id} ;;
  }
  join: customer_facts {
    relationship: one_to_one
    sql_on: ${customers.id} = ${customer_facts.customer_id} ;;
    required_joins: [customers]
  }
  join: stores { relationship: many_to_one sql_on: ${orders.store_id} = ${stores.id} ;; }
  join: shipments {
    type: full_outer
    relationship: one_to_many
    sql_on: ${shipments.order_id} = ${orders.order_id} ;;
  }
}

explore: orders {
  extends: [orders_base]
  label: "Orders and Customers"
  description: "The explore for everything about sales. Test orders are never in it."
  sql_always_where: ${orders.status} <> 'test' AND ${customers.email} NOT LIKE '%@acme.test' ;;
  always_filter: { filters: [orders.created_date: "2024", orders.status: "-cancelled"] }
}

explore: orders_emea {
  extends: [orders_base]
  hidden: yes
  conditionally_filter: { filters: [orders.created_date: "90 days"] unless: [orders.order_id] }
  join: stores { type: inner }
}
