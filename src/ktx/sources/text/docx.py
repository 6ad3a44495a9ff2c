"""Word documents (.docx) as Markdown, by way of HTML."""

import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Final, Protocol, cast
from xml.parsers.expat import ExpatError

import mammoth  # pyright: ignore[reportMissingTypeStubs]
from mammoth import html  # pyright: ignore[reportMissingTypeStubs]

from ktx.sources.text.converted import Converted, Unreadable
from ktx.sources.text.html import read_html

_MAX_ENTRIES: Final = 5_000
_MAX_XML_BYTES: Final = 32 * 1024 * 1024
_MAX_UNPACKED_BYTES: Final = 500 * 1024 * 1024
_STYLES: Final = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh\n"
# What the library raises on files that break the format: it has no errors of its own.
_BROKEN = (
    zipfile.BadZipFile, ExpatError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, OSError, EOFError,
    AssertionError, zlib.error,
)  # fmt: skip


class _Image(Protocol):
    alt_text: str | None


class _Answer(Protocol):
    value: str


def read_docx(data: bytes) -> Converted:
    """Give a Word document as Markdown: its current text, without comments; of pictures their descriptions.

    Raises:
        Unreadable: it is broken, locked, or unpacks to more than it should.
    """
    try:
        _ensure_harmless(data)
        markup, pictures = _to_html(data)
    except _BROKEN as error:
        raise Unreadable("is a broken Word document") from error
    found = read_html(markup)
    notes = (
        (f"{pictures:,} {'picture was' if pictures == 1 else 'pictures were'} left out",) if pictures else ()
    )
    return Converted(title=found.title, markdown=found.markdown, notes=(*found.notes, *notes))


def _ensure_harmless(data: bytes) -> None:
    """Look at what the archive unpacks to before anything does. `zipfile` never gives more than an entry declares."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        entries = archive.infolist()
        if any(entry.flag_bits & 1 for entry in entries):
            raise Unreadable("is encrypted", hint="save it without a password")
        xml = [entry for entry in entries if entry.filename.lower().endswith((".xml", ".rels"))]
        if (
            len(entries) > _MAX_ENTRIES
            or sum(entry.file_size for entry in xml) > _MAX_XML_BYTES
            or sum(entry.file_size for entry in entries) > _MAX_UNPACKED_BYTES
        ):
            raise Unreadable("unpacks to more than a document should", hint="split it")
        for entry in xml:
            # Word writes none; entities are how a small file grows without end.
            if b"<!DOCTYPE" in archive.read(entry).replace(b"\x00", b""):
                raise Unreadable("has XML with a document type, which no Word document needs")


def _to_html(data: bytes) -> tuple[str, int]:
    seen: list[_Image] = []

    def described(image: _Image) -> list[object]:
        seen.append(image)
        text = " ".join((image.alt_text or "").split())
        return [_text(text)] if text else []

    convert = cast("Callable[..., _Answer]", mammoth.convert_to_html)  # pyright: ignore[reportUnknownMemberType]
    answer = convert(
        BytesIO(data),
        convert_image=described,
        style_map=_STYLES,
        include_embedded_style_map=False,
        external_file_access=False,
    )
    return answer.value, len(seen)


def _text(text: str) -> object:
    return cast("Callable[[str], object]", html.text)(text)  # pyright: ignore[reportUnknownMemberType]
