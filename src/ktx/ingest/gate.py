"""The gate: what goes into the layer compiles, answers on the warehouse, points at things that exist, and holds no secret.

What does not pass is mended where somebody can (`Mend`), and left out and named otherwise; the rest goes through.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.errors import ConfigError, KtxError, LayerError, OutsideError, QueryError
from ktx.findings import Finding, Place
from ktx.ingest.artifact import Artifact, Data, Json
from ktx.ingest.change import Change, by_artifact
from ktx.ingest.draft import Draft
from ktx.ingest.leaks import Secrets
from ktx.ingest.merge import Merged, merge
from ktx.semantic.compile import compile_query
from ktx.semantic.query import DimensionAsk, MeasureAsk, Query
from ktx.semantic.source import Layer, Source
from ktx.semantic.tableref import parse_table_ref
from ktx.warehouse.identify import column_expression, table_expression
from ktx.warehouse.warehouse import Warehouse
from ktx.wiki.links import parse_links

_ROUNDS: Final = 4
_PROBE_TIMEOUT_S: Final = 20.0
_TAKES_OUT: Final = "disable_joins."
_MOST_SILENCES: Final = 3
_MOST_NAMES: Final = 6
_LISTED: Final = re.compile(r"^(measures|segments|columns|joins|column_overrides)\[(\d+)\]")

Mend: TypeAlias = Callable[[Draft, Artifact, Sequence[Finding]], Sequence[Change] | None]
"""Given a draft that does not pass, the artifact and what is wrong: other changes for it, or None."""


@dataclass(frozen=True, kw_only=True)
class Gated:
    """What passed, as changes and as files; what was left out, with the reason; what was mended."""

    merged: Merged
    changes: tuple[Change, ...]
    dropped: tuple[tuple[Change, str], ...] = ()
    mended: tuple[Artifact, ...] = ()
    findings: tuple[Finding, ...] = ()


def no_mending(draft: Draft, artifact: Artifact, problems: Sequence[Finding]) -> None:
    """Mend nothing."""
    del draft, artifact, problems


def gate(
    draft: Draft,
    changes: Sequence[Change],
    *,
    secrets: Secrets,
    warehouses: Mapping[str, Warehouse],
    removed_files: frozenset[Artifact] = frozenset(),
    mend: Mend = no_mending,
) -> Gated:
    """Let through what passes. `warehouses` are those that can be asked now."""
    keeper = _Keeper(draft, secrets, removed_files)
    keeper.changes = [one for one in changes if keeper.is_writable(one)]
    keeper.without_unusable()
    mended: list[Artifact] = []
    for _ in range(_ROUNDS):
        merged = keeper.merged()
        problems = _problems(draft, merged)
        if not problems:
            break
        for artifact, found in problems.items():
            better = None if artifact in mended else mend(merged.draft, artifact, found)
            if better is not None:
                mended.append(artifact)
                keeper.replace(artifact, better)
            else:
                keeper.drop(artifact, found, merged)
    else:
        for artifact, found in _problems(draft, keeper.merged()).items():
            keeper.drop_all(artifact, found[0].message)
    keeper.probe(warehouses)
    return Gated(
        merged=keeper.merged(),
        changes=tuple(keeper.changes),
        dropped=tuple(keeper.dropped),
        mended=tuple(mended),
        findings=tuple(keeper.findings),
    )


@dataclass
class _Keeper:
    """The changes that are still in, and those that are out."""

    draft: Draft
    secrets: Secrets
    removed_files: frozenset[Artifact]
    changes: list[Change] = field(default_factory=list[Change])
    dropped: list[tuple[Change, str]] = field(default_factory=list[tuple[Change, str]])
    findings: list[Finding] = field(default_factory=list[Finding])
    _passed: set[tuple[Artifact, str, str]] = field(default_factory=set[tuple[Artifact, str, str]])
    _silences: dict[str, int] = field(default_factory=dict[str, int])
    _merged: tuple[tuple[Change, ...], Merged] | None = None

    def merged(self) -> Merged:
        """Put what is still in into the draft; the same changes give the same value."""
        changes = tuple(self.changes)
        if self._merged is None or self._merged[0] != changes:
            self._merged = (changes, merge(self.draft, changes, removed_files=self.removed_files))
        return self._merged[1]

    def is_writable(self, change: Change) -> bool:
        """Tell whether a change holds nothing that must stay out."""
        if self.secrets.found_in("\n".join((change.entry, *_texts(change.value)))):
            if self.secrets.found_in(change.entry):
                change = replace(change, entry=f"{change.entry.partition('.')[0]}.***")
            self.dropped.append((change, "it holds what looks like a secret"))
            return False
        return True

    def without_unusable(self) -> None:
        """Leave out what is no valid part of a file."""
        try:
            self.merged()
        except LayerError:
            pass
        else:
            return
        good: list[Change] = []
        for group in by_artifact(self.changes).values():
            kept: list[Change] = []
            # A page needs its summary before anything else of it is a file.
            for change in sorted(
                group, key=lambda one: one.entry not in ("summary", "table", "sql", "columns")
            ):
                try:
                    merge(self.draft, [*kept, change], removed_files=self.removed_files)
                except LayerError as error:
                    self.dropped.append((change, error.message))
                else:
                    kept.append(change)
            good.extend(kept)
        self.changes = good

    def replace(self, artifact: Artifact, changes: Sequence[Change]) -> None:
        """Take other changes for an artifact."""
        self.changes = [one for one in self.changes if one.artifact != artifact]
        self.changes.extend(one for one in changes if self.is_writable(one))

    def drop(self, artifact: Artifact, problems: Sequence[Finding], merged: Merged) -> None:
        """Leave out the entries at fault; all of the artifact's when it does not show which."""
        if artifact.kind == "page" and self._without_references(artifact, merged):
            return
        at_fault = set(_at_fault(merged.draft, artifact, problems))
        reason = problems[0].message
        hit = [one for one in self.changes if one.artifact == artifact and one.entry in at_fault]
        if not hit:
            hit = self._joins_taken_out(artifact.connection_id)
        if not hit:
            self.drop_all(artifact, reason)
            return
        for change in hit:
            told = next(
                (one.message for one in problems if change.entry in _at_fault(merged.draft, artifact, [one])),
                reason,
            )
            self._out(change, told)

    def _joins_taken_out(self, connection_id: str) -> list[Change]:
        """Give the changes that take joins of a warehouse out: what somebody else's definition needs is theirs."""
        return [
            one
            for one in self.changes
            if one.artifact.connection_id == connection_id and one.entry.startswith(_TAKES_OUT)
        ]

    def _without_references(self, artifact: Artifact, merged: Merged) -> bool:
        """Make references that lead nowhere plain text, where an importer wrote them; tell whether that changed anything."""
        dangling = {link.text for link in merged.draft.dangling(artifact)}
        if not dangling:
            return False
        plain = {
            id(one): replace(one, value=_without_references(one.value, dangling))
            for one in self.changes
            if one.artifact == artifact and one.by == "import"
        }
        if all(plain[id(one)].value == one.value for one in self.changes if id(one) in plain):
            return False
        self.changes = [plain.get(id(one), one) for one in self.changes]
        is_one = len(dangling) == 1
        self.findings.append(
            Finding(
                level="note",
                code="reference-left-out",
                message=f"{_listed(sorted(dangling))} on `{artifact}` {'leads' if is_one else 'lead'} to nothing in the layer, "
                f"and {'stays' if is_one else 'stay'} as plain text.",
            )
        )
        return True

    def drop_all(self, artifact: Artifact, reason: str) -> None:
        """Leave out everything about an artifact; where nothing changes it, what takes away what it names is at fault."""
        hit = [one for one in self.changes if one.artifact == artifact]
        if not hit:
            removals = [one for one in self.changes if one.is_removal]
            hit = _named(removals, reason) or removals or list(self.changes)
        for change in hit:
            self._out(change, reason)

    def probe(self, warehouses: Mapping[str, Warehouse]) -> None:
        """Ask the warehouse whether what was added works on it; leave out what does not."""
        silent: set[str] = set()
        while True:
            merged = self.merged()
            failed = next(
                (
                    (change, reason)
                    for change in merged.applied
                    if change.artifact.kind == "source"
                    and not change.is_removal
                    and change.artifact.connection_id not in silent
                    and (reason := self._tried(merged.draft, change, warehouses, silent)) is not None
                ),
                None,
            )
            if failed is None:
                return
            self._out(*failed)
            self._without_lost(failed[0])

    def _tried(
        self, draft: Draft, change: Change, warehouses: Mapping[str, Warehouse], silent: set[str]
    ) -> str | None:
        """Give why a change does not work on the warehouse; None when it does, or when that cannot be known now."""
        artifact = change.artifact
        warehouse = warehouses.get(artifact.connection_id)
        source = draft.layer(artifact.connection_id).sources.get(artifact.name)
        key = (artifact, change.entry, str(change.value))
        if warehouse is None or source is None or key in self._passed:
            return None
        try:
            reason = _probe(draft.layer(artifact.connection_id), source, change, warehouse)
        except (QueryError, LayerError) as error:
            return f"it cannot be asked: {error.message}"
        except (OutsideError, ConfigError) as error:
            self._passed.add(key)
            self._unanswered(change, error, silent)
            return None
        self._passed.add(key)
        return reason

    def _unanswered(self, change: Change, error: KtxError, silent: set[str]) -> None:
        """Remember that a warehouse did not answer, and ask it no more after some times: each may take long."""
        name = change.artifact.connection_id
        self._silences[name] = self._silences.get(name, 0) + 1
        message = f"`{change.entry}` of `{change.artifact}` was not tried on `{name}`: {error.message}"
        if self._silences[name] >= _MOST_SILENCES:
            silent.add(name)
            message = f"`{name}` could not be asked {_MOST_SILENCES} times, so nothing more was tried on it: {error.message}"
        self.findings.append(Finding(level="note", code="not-probed", message=message))

    def _without_lost(self, lost: Change) -> None:
        """Leave out what cannot stand without a change that is out."""
        for _ in range(_ROUNDS):
            merged = self.merged()
            problems = _problems(self.draft, merged)
            if not problems:
                return
            for artifact, found in problems.items():
                self.drop(
                    artifact,
                    [replace(one, message=f"{one.message} (`{lost.entry}` is out)") for one in found],
                    merged,
                )

    def _out(self, change: Change, reason: str) -> None:
        self.changes = [one for one in self.changes if one is not change]
        self.dropped.append((change, reason))


def _named(removals: Iterable[Change], text: str) -> list[Change]:
    """Give those that take away what a message names: an entry, else a whole source or page."""
    words = {word.rpartition("/")[2] for word in re.findall(r"`([^`]+)`", text)}
    entries = [one for one in removals if f"{one.artifact.name}.{one.entry.partition('.')[2]}" in words]
    return entries or [one for one in removals if one.artifact.name in words]


def _problems(before: Draft, merged: Merged) -> dict[Artifact, list[Finding]]:
    """Give what is wrong after the changes and was not before, by artifact; whoever points at what changed is looked at too."""
    found: dict[Artifact, list[Finding]] = {}
    for artifact in _concerned(merged):
        old = {(one.code, one.message) for one in before.check(artifact)}
        new = [one for one in merged.draft.check(artifact) if (one.code, one.message) not in old]
        if new:
            found[artifact] = new
    return found


def _concerned(merged: Merged) -> Iterator[Artifact]:
    yield from merged.texts
    gone = {
        (change.artifact.connection_id, change.artifact.name)
        for change in merged.applied
        if change.is_removal and change.artifact.kind == "source"
    }
    lost_pages = {
        artifact.name for artifact, text in merged.texts.items() if artifact.kind == "page" and text is None
    }
    if gone or lost_pages:
        names = {name for _, name in gone} | lost_pages
        for key, page in merged.draft.pages.items():
            artifact = Artifact(kind="page", name=key)
            if artifact not in merged.texts and any(link.target in names for link in parse_links(page)):
                yield artifact
    cut = {one.artifact.connection_id for one in merged.applied if one.entry.startswith(_TAKES_OUT)}
    for connection_id in sorted(cut):
        for name in sorted(merged.draft.base.source_files.get(connection_id, {})):
            artifact = Artifact(kind="source", connection_id=connection_id, name=name)
            if artifact not in merged.texts:
                yield artifact
    for connection_id, name in sorted(gone):
        for source in merged.draft.layer(connection_id).sources.values():
            artifact = Artifact(kind="source", connection_id=connection_id, name=source.name)
            points = any(join.to == name for join in source.joins) or any(
                f"{name}." in measure.expr for measure in source.measures
            )
            if points and artifact not in merged.texts:
                yield artifact


def _at_fault(draft: Draft, artifact: Artifact, problems: Sequence[Finding]) -> Iterator[str]:
    """Give the entries that findings point at."""
    try:
        data = draft.data(artifact) or {}
    except LayerError:
        return
    for problem in problems:
        path = problem.where.path or ""
        match = _LISTED.match(path)
        if match is not None:
            entries = cast("list[Data]", data.get(match[1]) or [])
            at = int(match[2])
            if at < len(entries):
                name = entries[at].get("name") or entries[at].get("alias") or entries[at].get("to")
                yield f"{match[1]}.{name}"
        elif path:
            yield path.partition(".")[0].partition("[")[0]


def _probe(layer: Layer, source: Source, change: Change, warehouse: Warehouse) -> str | None:
    head, _, name = change.entry.partition(".")
    match head:
        case "measures":
            _ask(layer, Query(measures=(MeasureAsk(expr=f"{source.name}.{name}"),), limit=1), warehouse)
        case "columns" if source.sql is None:
            _ask(layer, Query(dimensions=(DimensionAsk(field=f"{source.name}.{name}"),), limit=1), warehouse)
        case "sql":
            count = (
                MeasureAsk(expr=f"count({source.name}.{source.columns[0].name})", name="n")
                if source.columns
                else None
            )
            if count is not None:
                _ask(layer, Query(measures=(count,), limit=1), warehouse)
        case "segments":
            column = next((one for one in source.columns if one.visibility == "public"), None)
            if column is not None:
                asked = DimensionAsk(field=f"{source.name}.{column.name}")
                _ask(
                    layer, Query(dimensions=(asked,), segments=(f"{source.name}.{name}",), limit=1), warehouse
                )
        case "joins":
            return _join_problem(layer, source, cast("Data", change.value), warehouse)
        case "grain" if source.table is not None:
            columns = [str(one) for one in cast("list[Json]", change.value)]
            if _repeats(source.table, columns, warehouse):
                return f"({', '.join(columns)}) does not tell the rows of `{source.name}` apart"
        case _:
            pass
    return None


def _ask(layer: Layer, query: Query, warehouse: Warehouse) -> None:
    compiled = compile_query(layer, query, dialect=warehouse.dialect)
    warehouse.run(compiled.tree, max_rows=1, timeout_s=_PROBE_TIMEOUT_S)


def _join_problem(layer: Layer, source: Source, join: Mapping[str, Json], warehouse: Warehouse) -> str | None:
    """Give why a join's cardinality is not so: the side that is said to be one has a key twice."""
    relationship, target_name = join.get("relationship"), str(join.get("to"))
    target = layer.sources.get(target_name)
    sides: list[tuple[Source, str]] = []
    if relationship in ("many_to_one", "one_to_one") and target is not None:
        sides.append((target, str(join.get("alias") or target_name)))
    if relationship in ("one_to_many", "one_to_one"):
        sides.append((source, source.name))
    for side, qualifier in sides:
        columns = _key_columns(str(join.get("on")), qualifier, warehouse.dialect)
        physical = {column.name for column in side.columns if column.expr is None}
        if side.table is None or not columns or not columns <= physical or set(side.grain) == columns:
            continue
        if _repeats(side.table, sorted(columns), warehouse):
            return f"it says {relationship}, and ({', '.join(sorted(columns))}) of `{side.name}` is there more than once"
    return None


def _key_columns(on: str, qualifier: str, dialect: str) -> set[str]:
    """Give the columns of one side when the condition is nothing but equalities; else none, since then nothing can be said."""
    try:
        tree = sqlglot.parse_one(on, into=exp.Condition, dialect=dialect)
    except (SqlglotError, RecursionError):
        return set()
    found: set[str] = set()
    for part in tree.flatten() if isinstance(tree, exp.And) else [tree]:
        node = part.unnest()
        if not isinstance(node, exp.EQ):
            return set()
        mine = [
            side
            for side in (node.left, node.right)
            if isinstance(side, exp.Column) and side.table == qualifier
        ]
        if len(mine) != 1:
            return set()
        found.add(mine[0].name)
    return found


def _repeats(table: str, columns: Sequence[str], warehouse: Warehouse) -> bool:
    """Ask whether a combination of non-null values stands in two rows."""
    ref = parse_table_ref(table)
    if ref is None:
        return False
    keys = [column_expression(name) for name in columns]
    known = exp.and_(*(exp.Not(this=exp.Is(this=key.copy(), expression=exp.Null())) for key in keys))
    rows = (
        exp.select(*(key.copy() for key in keys))
        .from_(table_expression(ref))
        .where(known)
        .group_by(*(key.copy() for key in keys))
        .having(exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1)))
        .limit(1)
    )
    return bool(warehouse.run(rows, max_rows=1, timeout_s=_PROBE_TIMEOUT_S).rows)


def dropped_findings(dropped: Iterable[tuple[Change, str]]) -> tuple[Finding, ...]:
    """Say what was left out and why, once for each reason of an artifact."""
    entries: dict[tuple[Artifact, str], list[str]] = {}
    for change, reason in dropped:
        entries.setdefault((change.artifact, reason), []).append(change.entry)
    return tuple(
        Finding(
            level="warning",
            code="left-out",
            message=f"{_listed(names)} of `{artifact}` {'is' if len(names) == 1 else 'are'} left out: {_sentence(reason)}",
            where=Place(),
        )
        for (artifact, reason), names in entries.items()
    )


def _listed(names: Sequence[str]) -> str:
    told = [f"`{name}`" for name in dict.fromkeys(names)]
    more = len(told) - _MOST_NAMES
    if more > 0:
        return f"{', '.join(told[:_MOST_NAMES])} and {more} more"
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _without_references(value: Json, dangling: set[str]) -> Json:
    """Give a page's value with what leads nowhere as plain text, or gone from a list of references."""
    if isinstance(value, list):
        return [one for one in value if one not in dangling]
    if not isinstance(value, str):
        return value
    value = re.sub(
        r"`([^`\n]+)`", lambda found: found[1] if found[1].strip() in dangling else found[0], value
    )
    return re.sub(
        r"\[\[([^\[\]|#\n]+)(?:[#|]([^\[\]\n]*))?\]\]",
        lambda found: (found[2] or found[1]) if found[0] in dangling else found[0],
        value,
    )


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
