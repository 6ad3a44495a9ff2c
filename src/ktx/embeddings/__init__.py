"""Vectors for texts, so that search finds by meaning."""
