"""Notion: pages and databases over its API."""
