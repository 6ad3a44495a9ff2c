r"""Markdown as evidence: front matter, title, first sentence, and parts of a bounded size that joined again give the text."""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final, Protocol, cast

from markdown_it import MarkdownIt
from markdown_it.token import Token
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ktx.errors import UsageError

PART_CHARS: Final = 40_000
"""How much of a text one unit of work should hold at most."""

_FENCE = "---"
_MAX_HEAD_CHARS = 64_000
_MAX_HEAD_VALUES = 5_000
_MAX_HEAD_DEPTH = 8
_BEGINNING_CHARS = 50_000
_MAX_INLINE_CHARS = 4_000
_SENTENCE_END = re.compile(
    "(?<=[.!?\\u3002\\uff01\\uff1f\\u2026])[\"'\\u201d\\u2019)\\]]*(?=\\s|$)|(?<=[\\u3002\\uff01\\uff1f])"
)
_NOT_AN_END = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|incl|no|nr|dr|mr|mrs|ms|z\.B|d\.h)|\b[A-Z]|^\d+)\.$", re.IGNORECASE
)
_FIELD = re.compile(r"^[\w-]+:", re.MULTILINE)
_UNSEEN = frozenset({"html_inline", "image"})


@dataclass(frozen=True, kw_only=True)
class Section:
    """A stretch of lines that begins with a heading (`level` 1 to 6), or what stands before the first one (`level` 0)."""

    text: str
    level: int = 0
    title: str = ""


def split_front_matter(text: str) -> tuple[str, str]:
    r"""Split a text into its front matter, without the fences, and its body.

    A text that does not begin with a `---` line, or never closes it, has no front matter: the line is a rule then.

    >>> split_front_matter("---\nsummary: Net of refunds\n---\n\n# Revenue\n")
    ('summary: Net of refunds\n', '# Revenue\n')
    >>> split_front_matter("---\nNo end")
    ('', '---\nNo end')
    """
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    if not lines or lines[0].rstrip() != _FENCE:
        return "", text
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() in (_FENCE, "..."):
            head = "".join(lines[1:number])
            return head, "".join(lines[number + 1 :]).lstrip("\r\n")
    return "", text


def parse_front_matter(head: str) -> Mapping[str, object]:
    """Read front matter as YAML 1.2; an empty one is an empty mapping. Its values are plain, and each stands for itself.

    Raises:
        UsageError: it is no YAML mapping, too long, or grows beyond measure by its aliases.
    """
    if len(head) > _MAX_HEAD_CHARS:
        raise UsageError(f"The front matter has more than {_MAX_HEAD_CHARS:,} characters.")
    try:
        value = _yaml().load(head)
    except (YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f" (line {line + 2})" if isinstance(line, int) else ""
        raise UsageError(
            f"The front matter is not valid YAML{where}.", hint="Quote text that contains `: `."
        ) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(
            "The front matter is not a mapping.", hint="Write `summary: …` between the `---` lines."
        )
    left = _MAX_HEAD_VALUES

    def plain(entry: object, depth: int) -> object:
        nonlocal left
        left -= 1
        if left < 0 or depth > _MAX_HEAD_DEPTH:
            raise UsageError("The front matter holds more than a page's should.")
        if isinstance(entry, dict):
            pairs = cast("dict[object, object]", entry).items()
            return {str(key): plain(below, depth + 1) for key, below in pairs}
        if isinstance(entry, (list, tuple, set, frozenset)):
            return [plain(below, depth + 1) for below in cast("list[object]", entry)]
        return entry if isinstance(entry, (bool, int, float, str, date)) or entry is None else str(entry)

    return cast("dict[str, object]", plain(cast("object", value), 0))


def title_of(text: str) -> str:
    r"""Give the text of the first heading, or an empty string.

    >>> title_of("Intro\n\nNet `revenue`\n=======\n")
    'Net revenue'
    """
    for tokens in _parsed_from_the_start(text):
        for at, token in enumerate(tokens):
            if token.type == "heading_open" and (found := _plain(tokens[at + 1].content)):
                return found
    return ""


def first_sentence(text: str, *, max_chars: int = 200) -> str:
    r"""Give the first sentence of the first paragraph as plain text; empty when there is none outside lists and quotes.

    >>> first_sentence("# Refunds\n\n**Refunds** count, e.g. as negative revenue. They are rare.")
    'Refunds count, e.g. as negative revenue.'
    """
    for tokens in _parsed_from_the_start(text):
        for at, token in enumerate(tokens):
            if token.type == "paragraph_open" and token.level == 0 and tokens[at + 1].type == "inline":
                plain = _plain(tokens[at + 1].content)
                if any(char.isalnum() for char in plain):
                    return shortened(_until_sentence_end(plain), max_chars)
    return ""


def sections(text: str) -> tuple[Section, ...]:
    r"""Split at every heading that stands outside code, quotes and lists; the sections' texts joined give the text.

    >>> [(part.level, part.title) for part in sections("Hi\n\nOne\n===\n\n```\n# no\n```\n\n## Two\n")]
    [(0, ''), (1, 'One'), (2, 'Two')]
    """
    tokens = _parse(text)
    starts: list[tuple[int, int, str]] = []
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map is not None:
            starts.append((token.map[0], int(token.tag[1:]), _plain(tokens[at + 1].content)))
    lines = _lines(text)
    if not starts or any(lines[: starts[0][0]]):
        starts.insert(0, (0, 0, ""))
    ends = [start for start, _, _ in starts[1:]] + [len(lines)]
    found = (
        Section(text="".join(lines[start:end]), level=level, title=title)
        for (start, level, title), end in zip(starts, ends, strict=True)
    )
    return tuple(section for section in found if section.text)


def split_parts(text: str, *, max_chars: int = PART_CHARS) -> tuple[Section, ...]:
    """Split into parts of at most `max_chars` that joined give the text, each named by the heading it begins with.

    A part ends where a heading begins: a section stays in one piece if it fits, together with neighbours that fit as well, and
    is split at its own subsections if it does not. What has no headings is split between blocks, then lines, then anywhere.
    """
    if len(text) <= max_chars:
        return (Section(text=text, title=title_of(text)),) if text else ()
    return tuple(_packed(list(_pieces(sections(text), max_chars)), max_chars))


def part_names(parts: Sequence[Section]) -> list[str]:
    """Name parts by the headings that they begin with, each once.

    >>> part_names([Section(text="", title=title) for title in ("Refunds", "", "Refunds")])
    ['refunds', 'part', 'refunds-2']
    """
    seen: Counter[str] = Counter()
    names: list[str] = []
    for part in parts:
        name = slug_of(part.title, max_chars=40) or "part"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return names


def shortened(text: str, max_chars: int) -> str:
    """Cut a text at a word where it is longer, with a mark.

    >>> shortened("gross margin after refunds", 20)
    'gross margin after…'
    """
    if len(text) <= max_chars:
        return text
    cut = text[: max_chars - 1]
    word_end = cut.rfind(" ")
    return (cut[:word_end] if word_end > max_chars // 2 else cut).rstrip(" ,;:") + "…"


def slug_of(text: str, *, max_chars: int = 60) -> str:
    """Give a text as lower-case ASCII words with `-` between them; empty when no letter or digit is left.

    >>> slug_of("Überfällige Rechnungen (2024)")
    'uberfallige-rechnungen-2024'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(slug) > max_chars:
        cut = slug[:max_chars]
        slug = cut[: cut.rfind("-")] if "-" in cut[max_chars // 2 :] else cut
    return slug.strip("-")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Write a table; cells are Markdown of one line, in which `|` is escaped here.

    >>> print(table(["Name", "Value"], [["a|b", "1\n2"]]))
    | Name | Value |
    | --- | --- |
    | a\|b | 1 2 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def _pieces(parts: Sequence[Section], max_chars: int) -> Iterator[Section]:
    """Give what must stay together: sections with all that is below them where that fits, and smaller pieces elsewhere."""
    at = 0
    while at < len(parts):
        end = at + 1
        while end < len(parts) and parts[end].level > parts[at].level > 0:
            end += 1
        whole = "".join(part.text for part in parts[at:end])
        if len(whole) <= max_chars:
            yield Section(text=whole, level=parts[at].level, title=parts[at].title)
            at = end
            continue
        if len(parts[at].text) <= max_chars:
            yield parts[at]
        else:
            yield from _blocks(parts[at], max_chars)
        at += 1


def _blocks(section: Section, max_chars: int) -> Iterator[Section]:
    lines = _lines(section.text)
    starts = sorted(
        {0, len(lines)}
        | {
            token.map[0]
            for token in _parse(section.text)
            if token.level == 0 and token.map and token.nesting >= 0
        }
    )
    for start, end in itertools.pairwise(starts):
        block = "".join(lines[start:end])
        if len(block) <= max_chars:
            yield Section(text=block, level=section.level, title=section.title)
            continue
        for line in lines[start:end]:
            for cut in range(0, len(line), max_chars):
                yield Section(text=line[cut : cut + max_chars], level=section.level, title=section.title)


def _packed(pieces: Sequence[Section], max_chars: int) -> Iterator[Section]:
    held: list[Section] = []
    size = 0
    for piece in pieces:
        if held and size + len(piece.text) > max_chars:
            yield _joined(held)
            held, size = [], 0
        held.append(piece)
        size += len(piece.text)
    if held:
        yield _joined(held)


def _joined(pieces: Sequence[Section]) -> Section:
    title = next((piece.title for piece in pieces if piece.title), "")
    return Section(text="".join(piece.text for piece in pieces), level=pieces[0].level, title=title)


def _until_sentence_end(text: str) -> str:
    for match in _SENTENCE_END.finditer(text):
        upto = text[: match.end()].strip()
        if upto and not _NOT_AN_END.search(upto):
            return upto
    return text


def _plain(inline: str) -> str:
    """Give a heading's or paragraph's text without its markup; of a very long one, of its beginning."""
    words: list[str] = []
    for child in _parser().parseInline(inline[:_MAX_INLINE_CHARS])[0].children or ():
        if child.type in ("softbreak", "hardbreak"):
            words.append(" ")
        elif child.type not in _UNSEEN:
            words.append(child.content)
    return " ".join("".join(words).split())


def _lines(text: str) -> list[str]:
    """Split as the parser counts lines: at `\\n` alone."""
    return [f"{line}\n" for line in text.split("\n")[:-1]] + [text[text.rfind("\n") + 1 :]]


def _parsed_from_the_start(text: str) -> Iterator[list[Token]]:
    """Read the beginning, where a title and a first sentence nearly always stand, and then the whole if it takes that."""
    if len(text) > _BEGINNING_CHARS:
        yield _parse(text[: text.rfind("\n", 0, _BEGINNING_CHARS) + 1])
    yield _parse(text)


def _parse(text: str) -> list[Token]:
    """Read the blocks alone: inline markup is costly, and of interest in few places. Front matter counts as blank lines."""
    head, body = split_front_matter(text)
    if head and _FIELD.search(head):
        text = "\n" * text[: len(text) - len(body)].count("\n") + body
    return _block_parser().parse(text.replace("\r", " "))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table")


@lru_cache(maxsize=1)
def _block_parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table").disable("inline")


class _Yaml(Protocol):
    def load(self, stream: str) -> object: ...


@lru_cache(maxsize=1)
def _yaml() -> _Yaml:
    # The C reader ends the whole process on a deeply nested document; the pure one raises.
    return cast("_Yaml", YAML(typ="safe", pure=True))
