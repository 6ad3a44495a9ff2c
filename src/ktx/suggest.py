"""The nearest known name to a misspelt one."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the known name that `name` most likely meant, or None when nothing is close.

    Case and `-`/`_` are ignored in the comparison.

    >>> nearest("promtCaching", ["promptCaching", "provider"])
    'promptCaching'
    >>> nearest("zebra", ["orders", "customers"]) is None
    True
    """
    by_key: dict[str, str] = {}
    for candidate in known:
        by_key.setdefault(_key(candidate), candidate)
    found = difflib.get_close_matches(_key(name), by_key, n=1, cutoff=0.6)
    return by_key[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give ` Did you mean `x`?` with a leading blank, or an empty string.

    >>> did_you_mean("ordres", ["orders"])
    ' Did you mean `orders`?'
    """
    found = nearest(name, known)
    return f" Did you mean `{found}`?" if found else ""


def _key(name: str) -> str:
    return name.casefold().replace("-", "_")
