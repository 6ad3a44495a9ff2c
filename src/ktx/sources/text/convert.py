"""Documents as Markdown: Markdown, plain text, HTML, PDF and DOCX, told apart by what they contain.

The libraries for the last three come with the extra `documents` and are imported when one is met.
"""

import codecs
import re
import zipfile
from io import BytesIO
from typing import Final, Literal

from ktx.errors import ConfigError, UsageError
from ktx.sources.markdown import parse_front_matter, split_front_matter, title_of
from ktx.sources.text.converted import Converted, Unreadable

Kind = Literal["text", "html", "pdf", "docx"]

MAX_BYTES: Final = 50 * 1024 * 1024
MAX_CHARS: Final = 5_000_000
_KINDS: Final = "Markdown, plain text, HTML, PDF and DOCX"
_HTML_START = re.compile(
    r"(?:\s|<!--.*?-->|<\?xml.*?\?>)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_TAG = re.compile(r"</?[a-z][a-z0-9]*[\s>/]", re.IGNORECASE)
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_-]{2,30})", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")
_CHARSETS = frozenset(
    {"shift_jis", "euc_jp", "euc_kr", "gb2312", "gbk", "gb18030", "big5", "koi8-r", "koi8-u", "ascii"}
)
_ZIPPED = (
    ("xl/", "an Excel workbook"),
    ("ppt/", "a PowerPoint file"),
    ("META-INF/", "an OpenDocument or Java file"),
)
_SIGNS = (
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"{\\rtf", "an RTF file"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x1f\x8b", "a gzip file"),
)


def to_markdown(data: bytes, *, name: str) -> Converted:
    """Give a document as Markdown; `name` is its file name, or whatever a person knows it by.

    Markdown and plain text stay as they are, front matter included, but for line ends and control characters.

    Raises:
        UsageError: it is of another kind, empty, broken, encrypted, not UTF-8, or too large.
        ConfigError: the extra `documents` is not installed.
    """
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"`{name}` has {len(data) / 1024 / 1024:.0f} MiB; at most {MAX_BYTES // 1024 // 1024} can be read."
        )
    try:
        found = _read(data, _kind(data, name), name)
    except Unreadable as error:
        raise UsageError(f"`{name}` {error.why}.", hint=error.hint) from error
    if len(found.markdown) > MAX_CHARS:
        raise UsageError(
            f"`{name}` holds {len(found.markdown):,} characters of text; at most {MAX_CHARS:,} can be read.",
            hint="split it",
        )
    if not split_front_matter(found.markdown)[1].strip():
        raise UsageError(f"`{name}` holds no text.")
    return found


def _read(data: bytes, kind: Kind, name: str) -> Converted:
    if kind == "text":
        return _from_text(_decoded(data))
    try:
        if kind == "html":
            from ktx.sources.text.html import read_html

            return read_html(_decoded(data, charset=_declared_charset(data)))
        if kind == "pdf":
            from ktx.sources.text.pdf import read_pdf

            return read_pdf(data)
        from ktx.sources.text.docx import read_docx

        return read_docx(data)
    except ImportError as error:
        raise ConfigError(
            f"`{name}` is {'an' if kind == 'html' else 'a'} {kind.upper()} document, and `{error.name}` is not installed.",
            hint="Install it: pip install 'ktx-context[documents]'",
        ) from error


def _kind(data: bytes, name: str) -> Kind:
    """Tell the kind by the content; the ending of the name only tells HTML without its outer tags from other text."""
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith(b"PK\x03\x04"):
        return _zipped_kind(data)
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable("is an encrypted or an old Office file", hint="save it as .docx without a password")
    for sign, what in _SIGNS:
        if data.startswith(sign):
            raise _refused(what)
    if b"\x00" in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _refused("a binary file")
    start = data[:4096].decode("utf-8", errors="ignore").removeprefix("\ufeff")
    if _HTML_START.match(start) or (
        name.lower().endswith((".html", ".htm", ".xhtml")) and _TAG.search(start)
    ):
        return "html"
    return "text"


def _zipped_kind(data: bytes) -> Kind:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise Unreadable("is a broken or cut-off archive") from error
    if any(entry.startswith("word/") for entry in names):
        return "docx"
    for prefix, what in _ZIPPED:
        if any(entry.startswith(prefix) for entry in names):
            raise _refused(what)
    raise _refused("an archive")


def _refused(what: str) -> Unreadable:
    return Unreadable(f"is {what}, which cannot be read", hint=f"{_KINDS} can")


def _decoded(data: bytes, *, charset: str = "utf-8") -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        charset = "utf-16"
    elif data.startswith(codecs.BOM_UTF8):
        charset = "utf-8"
    try:
        text = data.decode(charset)
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"is not {charset.upper()} text (byte {error.start:,} cannot be read)", hint="save it as UTF-8"
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n")


def _declared_charset(data: bytes) -> str:
    """Give the encoding that an HTML document states, if it is one of the Web's old ones."""
    stated = _CHARSET.search(data[:2048])
    if stated is None:
        return "utf-8"
    try:
        name = codecs.lookup(stated[1].decode("ascii")).name
    except LookupError:
        return "utf-8"
    is_old = name in _CHARSETS or name.startswith(("iso8859-", "cp125"))
    return name if is_old else "utf-8"


def _from_text(text: str) -> Converted:
    plain = _CONTROL.sub("", text)
    head, body = split_front_matter(plain)
    stated = parse_front_matter(head).get("title") if head else None
    lost = len(text) - len(plain)
    notes = (
        (f"{lost:,} control {'character was' if lost == 1 else 'characters were'} left out",) if lost else ()
    )
    title = stated.strip() if isinstance(stated, str) else ""
    return Converted(title=title or title_of(body), markdown=plain, notes=notes)
