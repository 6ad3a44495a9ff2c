# People who bought at least once. Guests share one row per e-mail address.
view: customers {
  sql_table_name: "@{SCHEMA}"."customers" ;;

  dimension: id { primary_key: yes type: number sql: ${TABLE}.id ;; }
  dimension: name { label: "Customer" sql: ${TABLE}.first_name || ' ' || ${TABLE}.last_name ;; }
  dimension: email {
    description: "Never shown to partners."
    tags: ["pii", "email"]
    required_access_grants: [can_see_people]
  }
  dimension: country { map_layer_name: countries  sql: ${TABLE}.country_code ;; }
  dimension: region {
    sql:
      CASE
        WHEN ${country} IN ('DE', 'FR', 'PL') THEN 'EMEA'  -- the three we ship to
        WHEN ${country} = 'US' THEN 'AMER'
        ELSE 'Other'
      END ;;
  }
  dimension: age { type: number }
  dimension: age_group { type: tier tiers: [18, 30, 50] style: interval sql: ${age} ;; }
  dimension_group: signed_up { type: time timeframes: [date, month] sql: ${TABLE}.signed_up_at ;; }
  dimension: is_active { type: yesno sql: ${TABLE}.is_active ;; }
  dimension: home { type: location sql_latitude: ${TABLE}.lat ;; sql_longitude: ${TABLE}.lon ;; }

  measure: count { label: "Number of Customers" type: count }
  measure: inactive_count { type: count filters: [is_active: "no"] }
  measure: emea_count { type: count filters: [region: "EMEA"] }
  measure: adults { type: count filters: [age: "[18, 65)"] }
  measure: average_age { type: average sql: ${age} ;; filters: [age: "NOT NULL"] }
  measure: lifetime_orders_sum { type: sum sql: ${customer_facts.lifetime_orders} ;; }
}
