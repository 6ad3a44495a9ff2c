"""The git program: the only caller of it."""
