"""Wiki pages: their format, their references. Pure."""
