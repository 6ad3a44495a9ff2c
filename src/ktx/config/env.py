"""Environment variables: the only place that reads them."""

import os
from collections.abc import Mapping


def get(name: str) -> str | None:
    """Give the value of a variable, or None when it is unset or empty."""
    return os.environ.get(name) or None  # noqa: TID251 - this is the one reader


def snapshot() -> Mapping[str, str]:
    """Give a copy of the whole environment, from which a child process's own is chosen."""
    return dict(os.environ)  # noqa: TID251 - this is the one reader


def set_default(name: str, value: str) -> None:
    """Set a variable of this process for a library that reads it when it loads, unless the user has set it."""
    os.environ.setdefault(name, value)  # noqa: TID251 - this is the one place
