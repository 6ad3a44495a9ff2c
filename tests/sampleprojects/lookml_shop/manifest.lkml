# Constants that differ between our instances are overridden in the admin panel.
project_name: "acme_shop"

constant: SCHEMA {
  value: "retail"
  export: override_optional
}
constant: WAREHOUSE_CONNECTION { value: "acme_duckdb" }
constant: PAID_STATES { value: "paid,shipped,delivered" }

local_dependency: { project: "acme_blocks" }
