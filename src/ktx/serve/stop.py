"""The stop button of a call, for front ends: what a cancelled call has running in a database is stopped there."""

from ktx.warehouse.stop import Stop, stoppable

__all__ = ["Stop", "stoppable"]
