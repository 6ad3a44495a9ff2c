"""What a context source defines, put into the words of this project's layer: definitions and pages become changes.

A definition on a table becomes entries of that table's source, under the source's own name in the layer; one with SQL of its own
becomes a standalone source. What refers to other definitions is rewritten to the layer's names.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.catalog import TableRef
from ktx.files import digest
from ktx.ingest.artifact import Artifact, Json, page_artifact, page_entries, source_artifact
from ktx.ingest.change import Change
from ktx.ingest.draft import Draft
from ktx.semantic.compose import condition_key
from ktx.semantic.manifest import ShardTable
from ktx.semantic.source import Source
from ktx.sources.definition import ColumnFact, Definition, JoinFact, MeasureFact, PageFact
from ktx.sources.evidence import Unmapped

IMPORT: Final = "import"
_OWN_HEAD: Final = frozenset({"summary", "tags", "refs", "connections", "source", "meta"})
_REFERRED: Final = frozenset({"measures", "segments", "columns"})
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MENTION: Final = re.compile(r"`\{\{\s*([^{}`]+?)\s*\}\}`")
_KEY_ENDINGS: Final = ("_id", "_key", "_code", "_uuid", "_sk", "_fk", "id")


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Changes, and what found no place. `names` maps a definition's name to its artifact."""

    changes: tuple[Change, ...]
    unmapped: tuple[Unmapped, ...]
    names: Mapping[str, Artifact]


def place(
    source_id: str,
    definitions: Sequence[Definition],
    pages: Sequence[PageFact],
    draft: Draft,
    tables: Mapping[str, Mapping[TableRef, str]],
) -> Placed:
    """Put definitions and pages into changes. `tables` gives the layer's name of each table, by connection."""
    placer = _Placer(source_id, draft, tables)
    for definition in definitions:
        placer.name(definition)
    changes: list[Change] = []
    for definition in definitions:
        if definition.name in placer.names:
            changes.extend(placer.definition(definition))
    placer.know(changes)
    keys = {page.key for page in pages} | draft.pages.keys()
    for page in pages:
        changes.extend(placer.page(page, keys))
    return Placed(changes=tuple(changes), unmapped=tuple(placer.unmapped), names=placer.names)


class _Placer:
    """Knows the names while definitions are placed one by one."""

    def __init__(self, source_id: str, draft: Draft, tables: Mapping[str, Mapping[TableRef, str]]) -> None:
        self.source_id = source_id
        self.draft = draft
        self.tables = tables
        self.names: dict[str, Artifact] = {}
        self.unmapped: list[Unmapped] = []
        self.defined: set[tuple[Artifact, str]] = set()
        self.unreadable: set[Artifact] = set()

    def name(self, definition: Definition) -> None:
        """Find the artifact of a definition."""
        connection_id = definition.connection_id
        if definition.table is None:
            name = self._free_name(definition)
        else:
            name = self.tables.get(connection_id, {}).get(definition.table, "")
        if name:
            self.names[definition.name] = source_artifact(connection_id, name)
        else:
            self._report(
                definition,
                f"definition {definition.name}",
                f"The layer of `{connection_id}` has no table `{definition.table}`; run `ktx ingest {connection_id}` first.",
            )

    def definition(self, definition: Definition) -> Iterator[Change]:
        """Give the changes of one definition."""
        artifact = self.names[definition.name]
        problem = self.draft.problem(artifact)
        if problem is not None:
            self.unreadable.add(artifact)
            self._report(definition, f"definition {definition.name}", f"{problem} It is left as it is.")
            return
        layered = self.draft.layer(artifact.connection_id).sources.get(artifact.name)
        for key, value, evidence in self._entries(definition, artifact, layered):
            yield Change(
                artifact=artifact,
                entry=key,
                value=value,
                source=self.source_id,
                by="import",
                unit=IMPORT,
                evidence=evidence or definition.evidence,
            )

    def know(self, changes: Iterable[Change]) -> None:
        """Learn what pages may refer to: what the layer has, and what these changes add."""
        for artifact in self.names.values():
            source = self.draft.layer(artifact.connection_id).sources.get(artifact.name)
            if source is not None:
                self.defined |= {
                    (artifact, one.name) for one in (*source.columns, *source.measures, *source.segments)
                }
        for change in changes:
            head, _, name = change.entry.partition(".")
            if head in _REFERRED:
                self.defined.add((change.artifact, name))

    def page(self, page: PageFact, keys: Iterable[str]) -> Iterator[Change]:
        """Give the changes of one page."""
        problem = self.draft.problem(page_artifact(page.key))
        if problem is not None:
            self.unmapped.append(
                Unmapped(
                    evidence=page.evidence[0] if page.evidence else page.key,
                    what=f"page {page.key}",
                    reason="unresolved_reference",
                    detail=f"{problem} It is left as it is.",
                )
            )
            return
        body = _MENTION.sub(lambda found: self._mention(found[1]), page.body)
        many = len(self.draft.base.warehouses) > 1
        known = [text for name in page.definitions if (text := self._reference(name, has_prefix=many))]
        head: dict[str, Json] = {
            "summary": " ".join(page.summary.split())[:300],
            "tags": list(page.tags),
            "refs": [key for key in page.refs if key in set(keys) and key != page.key],
            "sl_refs": list(dict.fromkeys(known)),
            "connections": [one for one in page.connections if one in self.draft.base.connections],
            "source": self.source_id,
            **{key: _plain(value) for key, value in page.head.items() if key not in _OWN_HEAD},
        }
        said = page_entries(head, _without_dangling(body, set(keys)))
        # References into a file that cannot be read just now cannot be judged, so the page waits as it is.
        waits = any(one.name in body or one.name in " ".join(known) for one in self.unreadable)
        present = self.draft.entries(page_artifact(page.key)) if waits else {}
        for key, value in said.items():
            yield Change(
                artifact=page_artifact(page.key),
                entry=key,
                value=present.get(key, value),
                source=self.source_id,
                by="import",
                unit=IMPORT,
                evidence=page.evidence,
            )

    def _free_name(self, definition: Definition) -> str:
        """Give a standalone source's name: its own, or one with the author's where the layer has another of that name."""
        plain = re.sub(r"\W+", "_", definition.name).strip("_") or f"source_{digest(definition.name)[:8]}"
        present = self.draft.layer(definition.connection_id).sources.get(plain)
        if present is None or self._is_mine(source_artifact(definition.connection_id, plain)):
            return plain
        return f"{plain}_{definition.author}"

    def _is_mine(self, artifact: Artifact) -> bool:
        if self.draft.problem(artifact) is not None:
            return True
        origins = self.draft.origins(artifact).get("sql", ())
        return any(origin.source == self.source_id for origin in origins)

    def _entries(
        self, definition: Definition, artifact: Artifact, layered: Source | None
    ) -> Iterator[tuple[str, Json, tuple[str, ...]]]:
        author = definition.author
        table = self.draft.base.tables.get(artifact.connection_id, {}).get(artifact.name)
        stored = table.table if table is not None and definition.table is not None else None
        if definition.sql is not None:
            yield "sql", definition.sql.strip(), ()
        if definition.description and (
            stored is None or stored.descriptions.get("db") != definition.description
        ):
            yield f"descriptions.{author}", definition.description.strip(), ()
        yield from self._grain(definition, layered)
        if definition.default_time_dimension:
            yield f"default_time_dimension.{author}", definition.default_time_dimension, ()
        if definition.tags:
            yield f"tags.{author}", list(definition.tags), ()
        if definition.freshness:
            yield f"freshness.{author}", _plain(definition.freshness), ()
        comments = {column.name: column.descriptions.get("db") for column in stored.columns} if stored else {}
        for column in definition.columns:
            if column.expr is not None or definition.sql is not None:
                expr = None if column.expr is None else self._sql(column.expr, definition)
                yield f"columns.{column.name}", _column(column, author, expr), ()
            elif facts := _override(column, author, comments.get(column.name)):
                yield f"column_overrides.{column.name}.{author}", facts, ()
        for segment in definition.segments:
            yield (
                f"segments.{segment.name}",
                _filled(
                    name=segment.name,
                    expr=self._sql(segment.expr, definition),
                    description=segment.description,
                ),
                (),
            )
        for measure in definition.measures:
            yield f"measures.{measure.name}", self._measure(measure, definition), measure.evidence
        for join in definition.joins:
            entry = self._join(join, definition, artifact, layered)
            if entry is not None:
                yield f"joins.{entry.get('alias') or entry['to']}", dict(entry), ()
        for on in self._joins_to_copies(definition, artifact, stored):
            yield f"disable_joins.{on}", True, ()

    def _joins_to_copies(
        self, definition: Definition, artifact: Artifact, stored: ShardTable | None
    ) -> Iterator[str]:
        """Give the inferred one-to-one joins to tables that this one was computed from, unless the tool declares one."""
        tables = self.draft.base.tables.get(artifact.connection_id, {})
        declared = {self.names[join.to].name for join in definition.joins if join.to in self.names}
        for join in stored.joins if stored is not None else ():
            target = tables[join.to].table if join.to in tables else None
            if (
                target is not None
                and target.ref in definition.made_from
                and join.source == "inferred"
                and join.relationship == "one_to_one"
                and join.to not in declared
            ):
                yield join.on

    def _grain(
        self, definition: Definition, layered: Source | None
    ) -> Iterator[tuple[str, Json, tuple[str, ...]]]:
        if not definition.grain:
            return
        own = self._own_grain(definition)
        if definition.table is None or layered is None or not layered.grain or own:
            yield "grain", list(definition.grain), ()
        elif set(layered.grain) != set(definition.grain):
            self._report(
                definition,
                f"grain ({', '.join(definition.grain)})",
                f"The layer knows the key ({', '.join(layered.grain)}) of `{layered.name}`, which stays.",
            )

    def _own_grain(self, definition: Definition) -> bool:
        """Whether the grain in the layer is one that this source has written."""
        return "grain" in self.draft.origins(self.names[definition.name])

    def _measure(self, measure: MeasureFact, definition: Definition) -> Json:
        non_additive: Json = None
        if measure.non_additive is not None:
            non_additive = {"dimension": measure.non_additive[0], "window": measure.non_additive[1]}
        return _filled(
            name=measure.name,
            expr=self._sql(measure.expr, definition),
            filter=None if measure.filter is None else self._sql(measure.filter, definition),
            segments=list(measure.segments) or None,
            time_dimension=measure.time_dimension,
            non_additive=non_additive,
            description=measure.description,
        )

    def _join(
        self, join: JoinFact, definition: Definition, artifact: Artifact, layered: Source | None
    ) -> dict[str, Json] | None:
        target = self.names.get(join.to)
        if target is None or target.connection_id != artifact.connection_id:
            self._report(definition, f"join to {join.to}", f"`{join.to}` has no place in this layer.")
            return None
        renames = {definition.name: artifact.name}
        if join.alias is None:
            renames[join.to] = target.name
        on = self._renamed(join.on, renames, definition)
        manifest = self._manifest_joins(artifact, layered)
        if join.alias is None:
            if any(to == target.name and condition_key(known) == condition_key(on) for to, known in manifest):
                return None
            if any(to == target.name for to, _ in manifest) or target.name == artifact.name:
                alias = _role(on, artifact.name, target.name)
                on = self._renamed(join.on, {**renames, join.to: alias}, definition)
                return _filled(to=target.name, on=on, relationship=join.relationship, alias=alias)
        return _filled(to=target.name, on=on, relationship=join.relationship, alias=join.alias)

    def _manifest_joins(self, artifact: Artifact, layered: Source | None) -> list[tuple[str, str]]:
        """Give target and condition of the joins that this source has not written."""
        if layered is None:
            return []
        mine = {
            entry.removeprefix("joins.")
            for entry, origins in self.draft.origins(artifact).items()
            if entry.startswith("joins.") and any(one.source == self.source_id for one in origins)
        }
        return [(join.to, join.on) for join in layered.joins if join.name not in mine]

    def _sql(self, text: str, definition: Definition) -> str:
        return self._renamed(text, {name: artifact.name for name, artifact in self.names.items()}, definition)

    def _renamed(self, text: str, names: Mapping[str, str], definition: Definition) -> str:
        """Give an expression with its qualifiers as the layer calls them; one that cannot be parsed stays for the gate."""
        wanted = {old: new for old, new in names.items() if old != new}
        if "." not in text or not any(old in text for old in wanted):
            return text
        dialect = self.draft.base.warehouses[definition.connection_id].dialect
        try:
            tree = sqlglot.parse_one(text, dialect=dialect)
        except (SqlglotError, RecursionError):
            return text
        is_changed = False
        for column in tree.find_all(exp.Column):
            new = wanted.get(column.table)
            if new is not None:
                column.set("table", exp.to_identifier(new, quoted=not _PLAIN.fullmatch(new)))
                is_changed = True
        return tree.sql(dialect=dialect) if is_changed else text

    def _mention(self, name: str) -> str:
        reference = self._reference(name, has_prefix=False)
        return (
            f"`{reference}`"
            if reference and "." in reference
            else f"`source:{reference}`"
            if reference
            else name
        )

    def _reference(self, name: str, *, has_prefix: bool) -> str | None:
        whole = self.names.get(name)
        head, _, entity = name.rpartition(".")
        artifact = whole or self.names.get(head)
        if artifact is None:
            return None
        # What a file holds that cannot be read just now is not known to be gone.
        if whole is None and (artifact, entity) not in self.defined and artifact not in self.unreadable:
            return None
        text = artifact.name if whole else f"{artifact.name}.{entity}"
        return f"{artifact.connection_id}/{text}" if has_prefix else text

    def _report(self, definition: Definition, what: str, detail: str) -> None:
        self.unmapped.append(
            Unmapped(
                evidence=definition.evidence[0] if definition.evidence else definition.name,
                what=what,
                reason="unresolved_reference",
                detail=detail,
            )
        )


def _override(column: ColumnFact, author: str, comment: str | None) -> dict[str, Json]:
    """Give what an author says about a physical column, in the form of an entry."""
    description = column.description if column.description != comment else None
    constraints = _filled(not_null=column.is_not_null, unique=column.is_unique)
    return _filled(
        descriptions=description,
        enum_values=list(column.enum_values) or None,
        constraints=constraints or None,
        tests=_tests(column) if author == "dbt" else None,
    )


def _column(column: ColumnFact, author: str, expr: str | None) -> Json:
    constraints = _filled(not_null=column.is_not_null, unique=column.is_unique)
    return _filled(
        name=column.name,
        type=column.kind or ("time" if column.is_time else None),
        role="time" if column.is_time and column.kind not in (None, "time") else None,
        visibility="internal" if column.is_hidden else None,
        descriptions={author: column.description} if column.description else None,
        natural_granularity=column.natural_granularity,
        enum_values={author: list(column.enum_values)} if column.enum_values else None,
        constraints={author: constraints} if constraints else None,
        expr=expr,
    )


def _tests(column: ColumnFact) -> Json:
    if not column.tests:
        return None
    tests: list[Json] = [
        _filled(name=test.name, package=test.package, kwargs=_plain(test.kwargs) or None)
        for test in column.tests
    ]
    return {"dbt": tests}


def _filled(**parts: Json) -> dict[str, Json]:
    return {name: value for name, value in parts.items() if value is not None}


def _plain(value: object) -> Json:
    """Give plain JSON of what a tool's file held."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast("Sequence[object]", value)]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _role(on: str, own: str, target: str) -> str:
    """Name the role that a target plays, by this side's column: `approver_id` gives `approver`.

    >>> _role("orders.approver_id = users.id", "orders", "users")
    'approver'
    """
    for column in re.findall(rf"\b{re.escape(own)}\.(\w+)", on):
        for ending in _KEY_ENDINGS:
            stem = column.removesuffix(ending).rstrip("_")
            if column.endswith(ending) and stem and stem != target:
                return stem
    return f"{target}_{digest(on)[:4]}"


def _without_dangling(body: str, keys: set[str]) -> str:
    """Turn links to pages that do not exist into plain text."""
    return re.sub(
        r"\[\[([^\[\]|#\n]+)([#|][^\[\]\n]*)?\]\]",
        lambda found: found[0] if found[1].strip() in keys else (found[2] or "")[1:] or found[1],
        body,
    )
