"""From a context source's block of ktx.yaml to the source: the one dispatch over kinds."""
