"""From `llm` of ktx.yaml to backends: the one dispatch."""
