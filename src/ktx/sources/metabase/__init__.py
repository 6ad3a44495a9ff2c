"""Metabase: questions, models and metrics over its API."""
