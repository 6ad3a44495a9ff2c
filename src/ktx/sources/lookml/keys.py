"""Keys of pages and units that LookML names become."""

import re
import unicodedata
from typing import Final

from ktx.files import digest

_LONGEST: Final = 100


def page_key(*parts: str) -> str:
    """Give a flat key for a name; one that had to change carries a digest, so that two names never share a key.

    >>> page_key("looker-explore", "shop", "order_items")
    'looker-explore-shop-order_items'
    """
    told = "-".join(parts)
    plain = unicodedata.normalize("NFKD", told).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-")[:_LONGEST]
    return slug if slug == told else f"{slug or 'looker'}-{digest(told)[:8]}"
