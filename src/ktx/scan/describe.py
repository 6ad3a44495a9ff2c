"""Table and column descriptions by a model."""
