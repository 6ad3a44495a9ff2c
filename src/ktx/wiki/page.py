"""A wiki page: YAML front matter that says what the page is about, then Markdown for people and agents."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from io import StringIO
from typing import Annotated, Literal, Protocol, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ktx.errors import LayerError
from ktx.findings import Finding, Place
from ktx.suggest import did_you_mean
from ktx.yaml import YamlError, parse_yaml

UsageMode = Literal["always", "auto", "never"]
Scope = Literal["global", "user"]

_FENCE = "---"


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else [] if value is None else value


Names = Annotated[list[str], BeforeValidator(_as_list)]


class PageHead(BaseModel):
    """The front matter as people and agents write it. Unknown keys are kept, and named in a finding."""

    model_config = ConfigDict(extra="allow")

    summary: Annotated[str, Field(min_length=1)]
    tags: Names = []
    refs: Names = []
    sl_refs: Names = []
    usage_mode: UsageMode = "auto"
    sort_order: int = 0
    connections: Names = []
    source: str | None = None
    intent: str | None = None
    tables: Names = []
    representative_sql: str | None = None
    usage: dict[str, object] | str | None = None
    fingerprints: Names = []
    stale_since: date | None = None
    archived_since: date | None = None
    meta: dict[str, object] | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page. `user_id` is None for a page that everybody shares; `body_line` is where the Markdown begins in `file`.

    An empty `connections` means that the page speaks of no connection in particular and is found from all of them.
    """

    key: str
    user_id: str | None = None
    file: str
    summary: str
    body: str
    body_line: int = 1
    tags: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    sl_refs: tuple[str, ...] = ()
    usage_mode: UsageMode = "auto"
    sort_order: int = 0
    connections: tuple[str, ...] = ()
    source: str | None = None
    intent: str | None = None
    tables: tuple[str, ...] = ()
    representative_sql: str | None = None
    stale_since: date | None = None
    archived_since: date | None = None
    head_lines: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def scope(self) -> Scope:
        """Whether everybody shares the page or one user owns it."""
        return "global" if self.user_id is None else "user"


def split_front_matter(text: str) -> tuple[str, str, int]:
    r"""Split a file into front matter, body and the 1-based line on which the body begins.

    A file that does not begin with a `---` line has no front matter.

    >>> split_front_matter("---\nsummary: Net of refunds\n---\n# Revenue\n")
    ('summary: Net of refunds\n', '# Revenue\n', 4)
    """
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    if not lines or lines[0].rstrip() != _FENCE:
        return "", "".join(lines), 1
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() in (_FENCE, "..."):
            return "".join(lines[1:number]), "".join(lines[number + 1 :]), number + 2
    return "".join(lines[1:]), "", len(lines) + 1


@lru_cache(maxsize=512)
def parse_page(
    text: str, *, key: str, file: str, user_id: str | None = None
) -> tuple[Page, tuple[Finding, ...]]:
    """Read a page from the text of its file, with a finding for each unknown front-matter key.

    Raises:
        LayerError: the front matter is missing, is not YAML, or breaks the format; `findings` say where.
    """
    head_text, body, body_line = split_front_matter(text)
    if not head_text.strip():
        raise _refusal(
            file,
            1,
            f"Page `{key}` has no front matter.",
            fix="Begin the file with `---`, `summary: …`, `---`.",
        )
    raw = _read_head(head_text, file=file, key=key)
    lines = _head_lines(head_text)
    try:
        head = PageHead.model_validate(raw)
    except ValidationError as error:
        raise _invalid(error, file=file, key=key, lines=lines) from error
    known = set(PageHead.model_fields)
    findings = tuple(
        Finding(
            level="warning",
            code="wiki-unknown-key",
            message=f"Front-matter key `{name}` of page `{key}` is not known.{did_you_mean(name, known)}",
            where=Place(file=file, line=lines.get(name), path=name),
        )
        for name in head.model_extra or {}
    )
    page = Page(
        key=key,
        user_id=user_id,
        file=file,
        summary=head.summary.strip(),
        body=body,
        body_line=body_line,
        tags=tuple(head.tags),
        refs=tuple(head.refs),
        sl_refs=tuple(head.sl_refs),
        usage_mode=head.usage_mode,
        sort_order=head.sort_order,
        connections=tuple(head.connections),
        source=head.source,
        intent=head.intent,
        tables=tuple(head.tables),
        representative_sql=head.representative_sql,
        stale_since=head.stale_since,
        archived_since=head.archived_since,
        head_lines=lines,
    )
    return page, findings


def render_page(head: Mapping[str, object], body: str) -> str:
    r"""Write a new page. Keys come out in the order of the format; empty values are left out.

    >>> render_page({"summary": "Net of refunds", "tags": []}, "# Revenue")
    '---\nsummary: Net of refunds\n---\n\n# Revenue\n'
    """
    order = list(PageHead.model_fields)
    named = {name: value for name, value in head.items() if value not in (None, "", [], ())}
    ordered = sorted(named, key=lambda name: order.index(name) if name in order else len(order))
    plain = {
        name: list(cast("tuple[object, ...]", v)) if isinstance(v := named[name], tuple) else v
        for name in ordered
    }
    return _join(_dump(plain), "\n" + body.strip("\n") + "\n")


def edit_page(text: str, *, head: Mapping[str, object] | None = None, body: str | None = None) -> str:
    """Change some front-matter keys or the body, and keep everything else as its author wrote it, comments included.

    A value of None removes the key. With nothing to change the very same text comes back.

    Raises:
        LayerError: the page has no front matter that can be read.
    """
    head_text, old_body, _ = split_front_matter(text)
    changes = dict(head or {})
    new_body = old_body if body is None else "\n" + body.strip("\n") + "\n"
    if not changes:
        return text if body is None else _join(head_text, new_body)
    editor = _editor()
    try:
        # The editor builds its tree by recursion, and must be kept from what is nested too deeply.
        parse_yaml(head_text)
        document = editor.load(head_text)
    except (YamlError, YAMLError) as error:
        message = "The front matter is not valid YAML."
        raise LayerError(message, hint=str(error)) from error
    if not isinstance(document, dict):
        message = "The page has no front matter to edit."
        raise LayerError(message)
    entries = cast("dict[str, object]", document)
    for name, value in changes.items():
        if value is None:
            entries.pop(name, None)
        elif entries.get(name) != value:
            entries[name] = list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value
    stream = StringIO()
    editor.dump(entries, stream)
    return _join(stream.getvalue(), new_body)


def _join(head_text: str, body: str) -> str:
    newline = "" if head_text.endswith("\n") else "\n"
    return f"{_FENCE}\n{head_text}{newline}{_FENCE}\n{body}"


def _read_head(head_text: str, *, file: str, key: str) -> dict[str, object]:
    try:
        raw = parse_yaml(head_text)
    except YamlError as error:
        message = f"Front matter of page `{key}` is not valid YAML: {error.message}."
        line = 1 if error.line is None else error.line + 1
        raise _refusal(file, line, message, fix="Quote text that contains `: `.") from error
    if not isinstance(raw, dict):
        raise _refusal(
            file,
            1,
            f"Front matter of page `{key}` is not a mapping.",
            fix="Write `summary: …` between the `---` lines.",
        )
    return cast("dict[str, object]", raw)


def _invalid(error: ValidationError, *, file: str, key: str, lines: Mapping[str, int]) -> LayerError:
    findings: list[Finding] = []
    for problem in error.errors(include_url=False, include_context=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        path = ".".join(str(part) for part in problem["loc"])
        said = "is required" if problem["type"] == "missing" else f"cannot be used: {problem['msg'].lower()}"
        findings.append(
            Finding(
                level="error",
                code="wiki-front-matter",
                message=f"`{path}` of page `{key}` {said}.",
                where=Place(file=file, line=lines.get(name, 1), path=path),
            )
        )
    return LayerError(findings[0].message, hint=f"See `{findings[0].where}`.", findings=findings)


def _refusal(file: str, line: int, message: str, *, fix: str) -> LayerError:
    finding = Finding(
        level="error", code="wiki-front-matter", message=message, where=Place(file=file, line=line), fix=fix
    )
    return LayerError(message, hint=f"`{file}:{line}`: {fix}", findings=[finding])


def _head_lines(head_text: str) -> dict[str, int]:
    """Give the line in the file on which each top-level key stands; the opening fence is line 1."""
    lines: dict[str, int] = {}
    for number, line in enumerate(head_text.splitlines(), start=2):
        name, colon, _ = line.partition(":")
        if colon and name and not name[0].isspace() and name[0] not in "#-":
            lines.setdefault(name.strip().strip("\"'"), number)
    return lines


class _Yaml(Protocol):
    """The two calls used of `ruamel.yaml.YAML`, which has no types of its own."""

    def load(self, stream: str) -> object: ...

    def dump(self, data: object, stream: StringIO) -> None: ...


def _editor() -> _Yaml:
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096
    editor.indent(mapping=2, sequence=4, offset=2)
    return cast("_Yaml", editor)


def _dump(head: Mapping[str, object]) -> str:
    stream = StringIO()
    _editor().dump(dict(head), stream)
    return stream.getvalue()
