"""From a connection of ktx.yaml to an open warehouse: the one dispatch."""
