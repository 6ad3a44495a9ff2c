"""Looker: explores, dashboards and Looks over API 4.0."""
