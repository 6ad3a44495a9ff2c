"""From the file ktx.yaml to a checked value with findings."""
