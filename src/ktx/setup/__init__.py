"""Writing a working `ktx.yaml`, asked or told."""
