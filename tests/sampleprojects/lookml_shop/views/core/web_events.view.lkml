view: web_events {
  sql_table_name: retail.{% if _user_attributes['env'] == 'dev' %}events_dev{% else %}events{% endif %} ;;
  dimension: id { primary_key: yes type: number }
  measure: count { type: count }
}
