"""dbt projects: models, sources, tests and documentation."""
