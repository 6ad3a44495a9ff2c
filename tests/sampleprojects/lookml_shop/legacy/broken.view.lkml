view: broken { dimension: id { sql: ${TABLE}.id ;; }
