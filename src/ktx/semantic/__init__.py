"""The semantic layer: its YAML files, and the compiler from questions to SQL. Pure."""
