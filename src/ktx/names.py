"""Rules for names: connection ids, source files, wiki keys, and the words inside an identifier."""

import functools
import hashlib
import re
import unicodedata

_CONNECTION_ID = re.compile(r"[A-Za-z0-9_-]+")
_PAGE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_PLAIN_FILE = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[A-Z]+")
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))]
)


def is_connection_id(text: str) -> bool:
    """Tell whether `text` may name a connection: letters, digits, `_` and `-`."""
    return _CONNECTION_ID.fullmatch(text) is not None


def is_page_key(text: str) -> bool:
    """Tell whether `text` may name a wiki page: flat, starting with a letter or digit."""
    return _PAGE_KEY.fullmatch(text) is not None


def source_file_stem(name: str) -> str:
    """Give the file name (without ending) of the semantic source called `name`.

    A plain lower-case name is its own file name. Any other becomes a slug with eight hex digits of the SHA-256 of
    the name, so that two names never share a file, also where case does not count.

    >>> source_file_stem("orders")
    'orders'
    >>> source_file_stem("Order Items")
    'order-items-dbc868c6'
    """
    if _PLAIN_FILE.fullmatch(name) and name not in _RESERVED:
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:48] or "source"
    return f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@functools.lru_cache(maxsize=65536)
def words(identifier: str) -> tuple[str, ...]:
    """Split an identifier into case-folded words at case changes, digits and punctuation.

    >>> words("orderItems_v2ID")
    ('order', 'items', 'v', '2', 'id')
    """
    return tuple(word.casefold() for word in _WORD.findall(identifier))
