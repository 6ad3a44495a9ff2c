"""Checks of a project, and the verdict they add up to."""
