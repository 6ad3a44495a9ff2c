"""Native SQL with its references and variables filled: `{{#12-slug}}`, `{{snippet: name}}`, `{{tag}}`, `[[ … ]]`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from sqlglot import exp

from ktx.sources.loose import as_list, as_mapping

_TOKEN: Final = re.compile(r"'[^'{\[]*'|\[\[|\]\]|\{\{(.*?)\}\}|--[^\n]*|/\*.*?\*/", re.DOTALL)
_CARD: Final = re.compile(r"#(\d+)(?:-[^}]*)?")
_PLAIN_NAME: Final = re.compile(r"[^A-Za-z0-9_]+")
_MAX_DEPTH: Final = 20
_MAX_CHARS: Final = 500_000
_EQUAL: Final = frozenset(
    {"category", "id", "string/=", "number/=", "location/city", "location/state", "location/country"}
)

State = Literal["filled", "left out", "any value", "needed"]


class Unresolved(Exception):  # noqa: N818 - a reason, caught where the card has a name
    """SQL that cannot be put together, and why."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """What became of a variable: `filled` with its default, `left out` with its optional block, put as `any value` (a field
    filter without a default holds for every row), or `needed` from whoever asks and shown as `:name`.
    """

    name: str
    kind: str
    state: State


@dataclass(frozen=True, kw_only=True)
class Filled:
    """SQL without any Metabase markup, the variables in it, and the cards that it is made of."""

    sql: str
    variables: tuple[Variable, ...] = ()
    cards: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the parts come from. `card` gives another card's SQL and what that is made of, `field` writes a column."""

    card: Callable[[int], Filled]
    snippet: Callable[[str], str | None]
    field: Callable[[int], str | None]


def card_references(sql: str) -> tuple[int, ...]:
    """Give the ids of the cards that SQL refers to, sorted.

    >>> card_references("select * from {{#12}} join {{ #7-orders }} using (id)")
    (7, 12)
    """
    found: set[int] = set()
    for match in _TOKEN.finditer(sql):
        card = _CARD.fullmatch((match.group(1) or "").strip())
        if card is not None:
            found.add(int(card.group(1)))
    return tuple(sorted(found))


def fill(sql: str, tags: Mapping[str, object], sources: Sources, *, depth: int = 0) -> Filled:
    """Fill the markup of native SQL. Comments go: one at an end would swallow what follows in another card.

    Raises:
        Unresolved: a part is missing or refers to itself, or a block is not closed.
    """
    if depth > _MAX_DEPTH:
        raise Unresolved("snippets are nested too deeply, or refer to themselves")
    parts: list[str] = []
    block: list[str] | None = None
    inside: list[Filled] = []
    whole: list[Filled] = []
    end = 0
    for match in _TOKEN.finditer(sql):
        (parts if block is None else block).append(sql[end : match.start()])
        end, mark = match.end(), match.group(0)
        if mark == "[[":
            if block is not None:
                raise Unresolved("an optional block is nested in another one")
            block, inside = [], []
        elif mark == "]]":
            if block is None:
                parts.append(mark)
                continue
            whole += _closed(block, inside, parts)
            block = None
        elif mark.startswith("'"):
            (parts if block is None else block).append(mark)
        elif mark.startswith("{{"):
            one = _part((match.group(1) or "").strip(), tags, sources, depth)
            (inside if block is not None else whole).append(one)
            (parts if block is None else block).append(one.sql)
    if block is not None:
        raise Unresolved("an optional block `[[` is not closed")
    parts.append(sql[end:])
    if sum(map(len, parts)) > _MAX_CHARS:
        raise Unresolved("it grows too large when its references are followed")
    variables = {one.name: one for filled in whole for one in filled.variables}
    return Filled(
        sql="".join(parts).strip().rstrip(";").rstrip(),
        variables=tuple(variables[name] for name in sorted(variables)),
        cards=tuple(sorted({card for filled in whole for card in filled.cards})),
    )


def _closed(block: list[str], inside: list[Filled], parts: list[str]) -> list[Filled]:
    """Keep an optional block when every variable in it has a value; else it goes, and its variables say so."""
    missing = [one for filled in inside for one in filled.variables if one.state in ("needed", "any value")]
    if not missing:
        parts += block
        return inside
    gone = tuple(
        Variable(name=one.name, kind=one.kind, state="left out")
        for filled in inside
        for one in filled.variables
    )
    return [Filled(sql="", variables=gone)]


def _part(name: str, tags: Mapping[str, object], sources: Sources, depth: int) -> Filled:
    card = _CARD.fullmatch(name)
    settings = as_mapping(tags.get(name))
    if card is not None or (settings.get("type") == "card" and isinstance(settings.get("card-id"), int)):
        id_ = int(card.group(1)) if card is not None else cast("int", settings["card-id"])
        inner = sources.card(id_)
        return Filled(sql=f"({inner.sql})", variables=inner.variables, cards=(id_, *inner.cards))
    if name.lower().startswith("snippet:") or settings.get("type") == "snippet":
        title = settings.get("snippet-name") or name.partition(":")[2].strip()
        text = sources.snippet(str(title))
        if text is None:
            raise Unresolved(f"the snippet `{title}` is not there")
        return fill(text, tags, sources, depth=depth + 1)
    return _variable(name, settings, sources)


def _variable(name: str, tag: Mapping[str, object], sources: Sources) -> Filled:
    kind = str(tag.get("type") or "text")
    default = tag.get("default")
    given = _values(default)
    if kind == "dimension":
        sql, state = _field_filter(tag, given, sources)
    elif given:
        sql, state = ", ".join(_literal(value, kind) for value in given), "filled"
    else:
        sql, state = f":{_PLAIN_NAME.sub('_', name) or 'value'}", "needed"
    return Filled(sql=sql, variables=(Variable(name=name, kind=kind, state=state),))


def _field_filter(tag: Mapping[str, object], given: list[object], sources: Sources) -> tuple[str, State]:
    """Write a field filter: a condition on its column for a default that is a list of values, else one that always holds."""
    widget = str(tag.get("widget-type") or "category")
    ids = [one for one in as_list(tag.get("dimension")) if isinstance(one, int)]
    column = sources.field(ids[0]) if ids else None
    if not given:
        return "1 = 1", "any value"
    if column is None or widget not in _EQUAL:
        raise Unresolved(f"a field filter of the kind `{widget}` has a default that has no translation")
    kind = "number" if widget in ("number/=", "id") else "text"
    return f"{column} IN ({', '.join(_literal(value, kind) for value in given)})", "filled"


def _values(default: object) -> list[object]:
    if default is None or default == "" or default == []:
        return []
    return list(cast("list[object]", default)) if isinstance(default, list) else [default]


def _literal(value: object, kind: str) -> str:
    if kind == "number":
        try:
            number = float(str(value))
        except ValueError:
            raise Unresolved("a variable of the kind `number` has a default that is none") from None
        return str(int(number)) if number.is_integer() else repr(number)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return exp.Literal.string(str(value)).sql()
