"""Rich text as Markdown: annotations, links, mentions, equations."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from ktx.sources.notion.references import reference
from ktx.sources.notion.values import Values, items, mapping, plain_id, text

_SPECIAL = re.compile(r"([*`])|(\[)(?=\[)|(<)(?=[A-Za-z/!?])")
_LINE_START = re.compile(
    r"^(\s*)(#{1,6}(?=\s)|>|[-+](?=\s)|\d+(?=[.)]\s)|```|~~~|---+\s*$|===+\s*$)", re.MULTILINE
)
_SIGNED: Final = re.compile(
    r"^(?:x-amz-.*|x-goog-.*|signature|sig|expires|expirationtimestamp|token|awsaccesskeyid)$", re.IGNORECASE
)
_NOTION_HOST = re.compile(r"(?:^|\.)notion\.(?:so|com|site)$")


def markdown(rich: object) -> str:
    """Give rich text as Markdown of one paragraph."""
    return "".join(_span(span) for span in _merged(rich))


def plain(rich: object) -> str:
    """Give rich text as words, in one line."""
    return " ".join("".join(_words(span) for span in items(rich)).split())


def paragraph(rich: object) -> str:
    """Give rich text as a paragraph in which no line begins like a heading, list or quote."""
    return _LINE_START.sub(_escaped_start, markdown(rich)).strip()


def safe_url(value: object) -> str:
    """Give an address that is worth keeping: of the Web or mail, and not signed for a while; otherwise an empty string."""
    url = text(value).strip()
    try:
        parts = urlsplit(url)
        signed = any(_SIGNED.match(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("http", "https", "mailto") or signed or re.search(r"[\s<>]", url):
        return ""
    return url


def link(label: str, url: str) -> str:
    """Write a link; a label that is an address, or missing, is the address."""
    if not label or label == url:
        return f"<{url}>"
    return f"[{label}]({f'<{url}>' if re.search(r'[()]', url) else url})"


def notion_page(url: object) -> str:
    """Give the id of the page that an address within Notion points at, otherwise an empty string."""
    address = text(url)
    if address.startswith("/"):
        return plain_id(address)
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return ""
    return plain_id(address) if _NOTION_HOST.search(host) else ""


def _escaped_start(match: re.Match[str]) -> str:
    start = match[2]
    return f"{match[1]}{start}\\" if start.isdigit() else f"{match[1]}\\{start}"


def _merged(rich: object) -> list[Values]:
    """Join neighbours that look alike: Notion splits a sentence wherever somebody edited it."""
    out: list[Values] = []
    for span in items(rich):
        last = out[-1] if out else None
        if (
            last is not None
            and last.get("type", "text") == span.get("type", "text") == "text"
            and _looks(last) == _looks(span)
        ):
            out[-1] = {**last, "plain_text": _words(last) + _words(span)}
        else:
            out.append(span)
    return out


def _looks(span: Values) -> tuple[object, ...]:
    annotations = mapping(span.get("annotations"))
    marks = tuple(annotations.get(name) is True for name in ("bold", "italic", "strikethrough", "code"))
    return (*marks, span.get("href") or mapping(mapping(span.get("text")).get("link")).get("url"))


def _words(span: Values) -> str:
    words = text(span.get("plain_text"))
    return words or text(mapping(span.get("text")).get("content"))


def _span(span: Values) -> str:
    kind = span.get("type", "text")
    annotations = mapping(span.get("annotations"))
    if kind == "equation":
        expression = text(mapping(span.get("equation")).get("expression")) or _words(span)
        return f"${expression}$" if expression else ""
    if kind == "mention":
        return _annotated(_mention(mapping(span.get("mention")), _words(span)), annotations)
    words = _words(span)
    url = span.get("href") or mapping(mapping(span.get("text")).get("link")).get("url")
    page = notion_page(url)
    body = _code(words) if annotations.get("code") is True else escaped(words)
    kept = safe_url(url)
    if not words.strip() or not (page or kept):
        return _annotated(body, annotations)
    lead, core, trail = _split_space(body)
    shown = link(_annotated(core, annotations), kept) if kept else core
    return lead + (reference(page, shown) if page else shown) + trail


def escaped(words: str) -> str:
    """Keep words from being read as markup or as links of the wiki; names like `order_items` stay as they are."""
    return _SPECIAL.sub(lambda match: "[ " if match[0] == "[" else f"\\{match[0]}", words)


def _mention(mention: Values, words: str) -> str:
    kind = mention.get("type")
    target = mapping(mention.get(text(kind)))
    if kind in ("page", "database", "data_source"):
        id_ = plain_id(target.get("id"))
        return reference(id_, escaped(words) or "a page") if id_ else escaped(words)
    if kind == "user":
        name = words or text(target.get("name")) or "someone"
        return escaped(name if name.startswith("@") else f"@{name}")
    if kind == "date":
        return date_text(target) or escaped(words)
    if kind in ("link_preview", "link_mention"):
        url = safe_url(target.get("url") or target.get("href"))
        title = text(target.get("title")) or words
        return link(escaped(title), url) if url else escaped(title)
    return escaped(words)


def date_text(value: Values) -> str:
    """Give a date, or a span of dates, as Notion states it."""
    start, end = text(value.get("start")), text(value.get("end"))
    return f"{start} to {end}" if start and end else start


def _annotated(body: str, annotations: Mapping[str, object]) -> str:
    lead, core, trail = _split_space(body)
    if not core:
        return body
    for name, mark in (("strikethrough", "~~"), ("italic", "*"), ("bold", "**")):
        if annotations.get(name) is True:
            core = f"{mark}{core}{mark}"
    return lead + core + trail


def _split_space(body: str) -> tuple[str, str, str]:
    core = body.strip()
    if not core:
        return body, "", ""
    at = body.index(core)
    return body[:at], core, body[at + len(core) :]


def _code(words: str) -> str:
    core = words.replace("\n", " ")
    if not core.strip():
        return core
    fence = "`" * (max((len(run) for run in re.findall("`+", core)), default=0) + 1)
    pad = " " if core.startswith("`") or core.endswith("`") else ""
    return f"{fence}{pad}{core}{pad}{fence}"
