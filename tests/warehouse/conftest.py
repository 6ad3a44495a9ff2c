"""Fixtures of the warehouse tests."""

from servers.shop import engine

__all__ = ["engine"]
