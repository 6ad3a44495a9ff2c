"""The text of PDF files: lines as they are set, headings where the file's outline names them."""

import logging
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Final, cast

from pypdf import PdfReader
from pypdf.errors import DependencyError, PyPdfError
from pypdf.generic import Destination

from ktx.sources.text.converted import Converted, Unreadable

_MAX_PAGES: Final = 2_000
_MAX_CHARS: Final = 6_000_000
_MAX_OUTLINE: Final = 2_000
_MAX_DEPTH: Final = 20
_RUNNING_PAGES: Final = 4
"""On how many pages a first or last line must stand to be a running title and no text."""

_LOOKS_LIKE_MARKUP = re.compile(r"^(?=#{1,6}\s|>|```|~~~|={2,}\s*$|-{2,}\s*$)")
_BULLET = re.compile("^[•◦▪‣●∙·\uf0b7]\\s*(?=\\S)")
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff]")
# What the library raises on files that break the format, besides its own errors.
_BROKEN = (
    PyPdfError, DependencyError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
    NotImplementedError, AssertionError, OSError, zlib.error, struct.error,
)  # fmt: skip

# Its complaints about sloppy files are for developers, and without a handler they would end on the terminal.
logging.getLogger("pypdf").addHandler(logging.NullHandler())


def read_pdf(data: bytes) -> Converted:
    """Give the text of a PDF file. Pictures and layout are not looked at.

    Raises:
        Unreadable: it is broken, needs a password, has more than 2,000 pages, or holds pictures of text only.
    """
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("needs a password", hint="save it without one")
        count = len(reader.pages)
        if count > _MAX_PAGES:
            raise Unreadable(f"has {count:,} pages; at most {_MAX_PAGES:,} can be read", hint="split it")
        pages = list(_pages(reader))
        title = _stated_title(reader)
    except DependencyError as error:
        raise Unreadable("is encrypted", hint="save it without encryption") from error
    except _BROKEN as error:
        raise Unreadable("is a broken PDF file") from error
    if not any(pages):
        raise Unreadable("holds no text (pictures of pages?)", hint="run a text recognition over it first")
    headings = _headings(reader)
    running = _running_lines(pages)
    texts = [_page_text(lines, headings.get(at, {}), running) for at, lines in enumerate(pages)]
    empty = sum(1 for lines in pages if not lines)
    notes = (f"{empty:,} of {count:,} pages hold no text",) if empty else ()
    text = "\n\n".join(text for text in texts if text)
    return Converted(title=title or _first_line(texts), markdown=f"{text}\n", notes=notes)


def _pages(reader: PdfReader) -> Iterator[list[str]]:
    size = 0
    for page in reader.pages:
        text = _CONTROL.sub("", page.extract_text().replace("\x0c", "\n"))
        size += len(text)
        if size > _MAX_CHARS:
            raise Unreadable(f"holds more than {_MAX_CHARS:,} characters of text", hint="split it")
        lines = [" ".join(line.split()) for line in text.splitlines()]
        yield lines if any(lines) else []


def _stated_title(reader: PdfReader) -> str:
    meta = reader.metadata
    stated = meta.title if meta is not None else None
    title = " ".join(_CONTROL.sub("", str(stated or "")).split())
    is_file_name = re.search(r"\.(?:docx?|indd|tex|pdf|pptx?|html?)$", title, re.IGNORECASE)
    return "" if is_file_name or title.casefold() in ("untitled", "document") else title


def _headings(reader: PdfReader) -> dict[int, dict[str, int]]:
    """Give, by page, the titles in the file's outline with their levels. A broken outline is as good as none."""
    found: dict[int, dict[str, int]] = {}
    try:
        for destination, level in _flat(cast("Sequence[object]", reader.outline), 1):
            page = reader.get_destination_page_number(destination)
            title = " ".join(str(destination.title or "").split())
            if page is not None and title:
                found.setdefault(page, {}).setdefault(title.casefold(), level)
            if sum(map(len, found.values())) >= _MAX_OUTLINE:
                break
    except _BROKEN:
        return found
    return found


def _flat(outline: Sequence[object], level: int) -> Iterator[tuple[Destination, int]]:
    for entry in outline:
        if isinstance(entry, Destination):
            yield entry, min(level, 6)
        elif isinstance(entry, list) and level < _MAX_DEPTH:
            yield from _flat(cast("list[object]", entry), level + 1)


def _running_lines(pages: Sequence[Sequence[str]]) -> frozenset[str]:
    """Find running titles and page numbers: first or last lines that many pages share, digits aside."""
    seen = Counter(shape for lines in pages for shape in {_shape(line) for line in _edges(lines)})
    enough = max(_RUNNING_PAGES, len(pages) // 2)
    return frozenset(shape for shape, count in seen.items() if count >= enough)


def _edges(lines: Sequence[str]) -> Sequence[str]:
    filled = [line for line in lines if line]
    return (filled[0], filled[-1]) if filled else ()


def _shape(line: str) -> str:
    return re.sub(r"\d+", "0", line)


def _page_text(lines: Sequence[str], headings: dict[str, int], running: frozenset[str]) -> str:
    filled = [at for at, line in enumerate(lines) if line]
    dropped = {at for at in (filled[:1] + filled[-1:]) if _shape(lines[at]) in running}
    out: list[str] = []
    left = dict(headings)
    for at, line in enumerate(lines):
        if at in dropped:
            continue
        level = left.pop(line.casefold(), None)
        if level is not None:
            out += ["", f"{'#' * level} {line}", ""]
        else:
            out.append(_LOOKS_LIKE_MARKUP.sub(r"\\", _BULLET.sub("- ", line)))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()


def _first_line(texts: Sequence[str]) -> str:
    lines = (line.lstrip("#").strip() for text in texts for line in text.splitlines())
    first = next((line for line in lines if line), "")
    return first if len(first) <= 120 else ""
