"""The difference of a layer as lines for people."""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby

from ktx.cli.render.columns import aligned
from ktx.cli.render.data import cell_text
from ktx.ingest.artifact import Json
from ktx.ingest.definitions import DefinitionChange, FactChange
from ktx.ingest.diff import LayerDiff
from ktx.ingest.metric_values import ConnectionValues, SideValue, ValueChange

_SIGNS = {"added": "+", "changed": "~", "removed": "-"}
_LEADING = ("expr", "on", "table", "type", "sql")
_LONGEST = 100
_SHOWN_NAMES = 12


def diff_text(diff: LayerDiff) -> str:
    """Give a difference as lines."""
    at = diff.moments
    commit = f" ({at.commit.commit[:10]})" if at.commit and at.run else ""
    lines = [f"{at.title}: {at.commit.subject}{commit}" if at.commit else at.title]
    for connection_id, changes in groupby(diff.definitions, key=lambda one: one.connection_id):
        lines += ["", connection_id or "wiki", *_definitions(list(changes))]
    if not diff.definitions and not at.is_empty:
        differ = f"; {len(diff.files):,} files differ in layout or provenance" if diff.files else ""
        lines += ["", f"No definition and no page changes{differ}."]
    for values in diff.values or ():
        lines += _values(values)
    lines += [line for note in diff.notes for line in ("", note)]
    return "\n".join(lines) + "\n"


def _definitions(changes: Sequence[DefinitionChange]) -> Iterator[str]:
    whole = {one.target: one.sign for one in changes if one.noun == "source" and one.sign != "changed"}
    for target, group in groupby(changes, key=lambda one: one.target):
        mine = list(group)
        if target in whole:
            columns = [one.name for one in mine if one.noun == "column"]
            mine = [one for one in mine if one.noun != "column"]
        else:
            columns = []
        for one in mine:
            yield from _definition(one)
            if one.noun == "source" and columns:
                yield f"      columns: {_some(columns)}"


def _definition(one: DefinitionChange) -> Iterator[str]:
    name = f"{one.target}.{one.name}" if one.name else one.target
    head = f"  {_SIGNS[one.sign]} {one.noun} {name}"
    if one.noun == "page":
        yield head
        yield from _page(one)
        return
    if one.sign == "changed":
        yield head
        for fact in one.facts:
            yield from _fact(fact)
        return
    told = {fact.name: fact.after if one.sign == "added" else fact.before for fact in one.facts}
    leading = next((key for key in _LEADING if key in told), None)
    yield head + (f": {_short(told.pop(leading))}" if leading else "")
    if one.sign == "added":
        for key, value in told.items():
            yield f"      {key}: {_short(value)}"


def _fact(fact: FactChange) -> Iterator[str]:
    if fact.before is None:
        yield f"      {fact.name}: {_short(fact.after)} (new)"
    elif fact.after is None:
        yield f"      {fact.name}: no longer {_short(fact.before)}"
    else:
        yield f"      {fact.name}: {_short(fact.before)}"
        yield f"      {'->':>{len(fact.name) + 1}} {_short(fact.after)}"


def _page(one: DefinitionChange) -> Iterator[str]:
    """Name the sections; what they say is in `git show`."""
    if one.sign != "changed":
        sections = [_section(fact.name) for fact in one.facts if fact.name not in ("summary", "tags")]
        summary = next((fact.after for fact in one.facts if fact.name == "summary"), None)
        if summary:
            yield f"      summary: {_short(summary)}"
        if one.sign == "added" and sections:
            yield f"      {', '.join(sections)}"
        return
    for fact in one.facts:
        sign = "+" if fact.before is None else "-" if fact.after is None else "~"
        yield f"      {sign} {_section(fact.name)}"


def _section(name: str) -> str:
    head, _, title = name.partition(".")
    return f"section {title}" if head == "section" else name


def _values(values: ConnectionValues) -> Iterator[str]:
    yield ""
    if not values.is_asked:
        yield f"metric values of {values.connection_id}: not asked, because {values.reason}"
        if values.changes:
            names = [one.measure for one in values.changes]
            yield f"  compiled to other SQL: {_some([*names, *values.left_out])}"
        return
    if not values.changes and not values.left_out:
        yield f"metric values of {values.connection_id}: none changes, for every measure compiles to the same SQL ({values.same_sql:,})"
        return
    yield f"metric values of {values.connection_id}, over all rows"
    headers = ("measure", "before", "after", "difference", "%")
    rows = [_value_row(one) for one in values.changes if one.status != "same"]
    yield from aligned(headers, rows, right=headers[1:])
    same = [f"{one.measure} ({_side(one.after)})" for one in values.changes if one.status == "same"]
    if same:
        yield f"  other SQL, and the same value on today's rows ({len(same):,}): {_some(same)}"
    for one in values.changes:
        for word, side in (("before", one.before), ("after", one.after)):
            if side is not None and side.reason is not None:
                yield f"  {one.measure} cannot be asked {word}: {side.reason}"
    if values.left_out:
        yield f"  not asked, to keep this short ({len(values.left_out):,}): {_some(values.left_out)}"
    yield f"  measures that compile to the same SQL: {values.same_sql:,}"


def _value_row(one: ValueChange) -> tuple[str, ...]:
    percent = "" if one.percent is None else f"{one.percent:+,.2f}"
    difference = "" if one.difference is None else _cell(one.difference, sign="+")
    return (one.measure, _side(one.before), _side(one.after), difference, percent)


def _side(side: SideValue | None) -> str:
    if side is None:
        return "-"
    return "?" if side.reason is not None else "NULL" if side.value is None else _cell(side.value)


def _cell(value: object, *, sign: str = "") -> str:
    if isinstance(value, float):
        return f"{value:{sign},.15g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:{sign},}"
    text = f"{value:,f}" if isinstance(value, Decimal) else cell_text(value)
    return f"+{text}" if sign and not text.startswith("-") else text


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _short(value: Json) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        text = ", ".join(str(one) for one in value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
