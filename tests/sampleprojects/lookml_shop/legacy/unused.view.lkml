view: unused { sql_table_name: retail.unused ;; dimension: id {} }
