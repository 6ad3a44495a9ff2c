"""A dbt project as values, read from its files or from its manifest, and placed on the warehouses that hold its tables."""
