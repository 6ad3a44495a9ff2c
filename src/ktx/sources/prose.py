"""Other people's words inside our Markdown: one line, a slug, SQL in a fence; nothing in them links, quotes or breaks out."""

import re
import unicodedata
from collections.abc import Iterable, Iterator

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_OPENERS = re.compile(r"([\[{])(?=\1)")
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")


def one_line(text: str | None, limit: int = 300) -> str:
    """Give a text as one line without control characters, backticks, or the openings of links and references.

    >>> one_line("Net  sales\\n(see [[orders]])")
    'Net sales (see [ [orders]])'
    """
    line = " ".join(_CONTROL.sub(" ", text or "").replace("`", "'").split())
    line = _OPENERS.sub(r"\1 ", line)
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def told(text: str, limit: int = 500) -> str:
    """Give a sentence of ours with other people's names in it, as one line without control characters."""
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def clean(text: str | None, limit: int = 20_000) -> str:
    """Give a text of several lines without control characters, shortened at `limit`."""
    whole = _CONTROL.sub("", (text or "").replace("\r\n", "\n")).strip()
    return whole if len(whole) <= limit else f"{whole[:limit].rstrip()} …"


def sentence(text: str | None, limit: int = 2000) -> str | None:
    """Give a description worth keeping, or None for an empty one."""
    return one_line(text, limit) or None


def fenced(sql: str, limit: int = 1500) -> str:
    """Give SQL in a fence; it says so where it is shortened."""
    text = _OPENERS.sub(r"\1 ", clean(sql, limit)).replace("```", "'''")
    return f"```sql\n{text}\n```"


def slug(text: str, *, otherwise: str, mark: str = "_") -> str:
    """Give a lower-case ASCII identifier of at most 60 characters that starts with a letter.

    >>> slug("Net revenue (EUR)", otherwise="card_7")
    'net_revenue_eur'
    >>> slug("売上", otherwise="card_7")
    'card_7'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = _NOT_PLAIN.sub(mark, plain).strip(mark)[:60].strip(mark)
    if not words:
        return otherwise
    return words if words[0].isalpha() else f"n{mark}{words}"


def packed(sizes: Iterable[tuple[str, int]], limit: int = 40_000) -> Iterator[tuple[str, ...]]:
    """Cut a list of ids into runs whose sizes add up to at most `limit`; what is larger stands alone."""
    run: list[str] = []
    total = 0
    for id_, size in sizes:
        if run and total + size > limit:
            yield tuple(run)
            run, total = [], 0
        run.append(id_)
        total += size
    if run:
        yield tuple(run)
