---
- dashboard: board
  title: Board
  description: What the board looks at on the first Monday of a month.
  layout: newspaper
  filters:
  - name: order_date
    title: Order Date
    type: field_filter
    explore: orders
    field: orders.created_date
  elements:
  - title: Net revenue by month
    name: net_by_month
    model: shop
    explore: orders
    type: looker_line
    fields: [orders.created_month, orders.net_revenue]
    filters:
      customers.region: EMEA
    listen:
      order_date: orders.created_date
  - title: Discounts
    model: shop
    explore: orders
    type: single_value
    fields: [orders.is_discounted, orders.currency_view, orders.big_discounted_count]
  - type: text
    title_text: Note
    body_text: Refunds are not in these numbers.
