connection: "@{WAREHOUSE_CONNECTION}"
label: "ACME Shop"
week_start_day: monday

include: "/views/**/*.view"
include: "/explores/*.lkml"
include: "//acme_blocks/date_comparison.view.lkml"
include: "/refinements/orders_finance"        # after the explores: refinements count in this order
include: "/dashboards/*.dashboard"

datagroup: nightly {
  sql_trigger: SELECT max(loaded_at) FROM etl.loads ;;
  max_cache_age: "24 hours"
}
persist_with: nightly

access_grant: can_see_people { user_attribute: department  allowed_values: ["hr"] }

explore: employees {
  label: "People"
  description: "Who works where, and for whom."
  required_access_grants: [can_see_people]
  access_filter: { field: employees.store_id  user_attribute: store }
  join: managers {
    from: employees
    type: left_outer
    relationship: many_to_one
    sql_on: ${employees.manager_id} = ${managers.employee_id} ;;
    fields: [managers.full_name]
  }
  join: stores {
    relationship: many_to_one
    foreign_key: store_id
  }
}
