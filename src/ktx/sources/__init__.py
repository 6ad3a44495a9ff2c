"""Context sources: the tools around a warehouse, read into evidence, and what they say about tables as definitions."""
