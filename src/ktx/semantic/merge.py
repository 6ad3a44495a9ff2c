"""How a new scan meets the manifest of the last one: facts are replaced, people's words and decisions stay.

Everything here is pure: shards in, shards out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp

from ktx.catalog import Cardinality, Catalog, Relationship, Table, TableRef
from ktx.names import words
from ktx.semantic.manifest import (
    RejectedJoin,
    Shard,
    ShardColumn,
    ShardJoin,
    ShardTable,
    join_text,
    table_text,
)

DEFAULT_SHARD = "public"
_INVERSE: Mapping[Cardinality, Cardinality] = {
    "many_to_one": "one_to_many",
    "one_to_many": "many_to_one",
    "one_to_one": "one_to_one",
}
_KEY_ENDINGS = frozenset({"id", "key", "code", "no", "nr", "num", "number", "fk", "uuid"})


@dataclass(frozen=True, kw_only=True)
class Descriptions:
    """Texts that a run found for one table: `table` and, by column name, `columns`."""

    table: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What a scan knows: tables, the proven key of each, and the accepted relationships, manual ones among them."""

    catalog: Catalog
    keys: Mapping[TableRef, tuple[str, ...]]
    relationships: Sequence[Relationship]
    rejected: Sequence[Relationship] = ()


def source_names(refs: Iterable[TableRef], known: Mapping[TableRef, str]) -> dict[TableRef, str]:
    """Name every table's source: as it was called before, else by its bare name, else qualified by its schema.

    >>> refs = [TableRef(schema="a", name="t"), TableRef(schema="b", name="t"), TableRef(schema="b", name="u")]
    >>> list(source_names(refs, {}).values())
    ['a__t', 'b__t', 'u']
    """
    ordered = sorted(refs, key=lambda ref: ref.parts)
    names = {ref: known[ref] for ref in ordered if ref in known}
    taken = set(names.values())
    bare = Counter(_plain(ref.name) for ref in ordered if ref not in names)
    for ref in ordered:
        if ref in names:
            continue
        name = _plain(ref.name)
        if bare[name] > 1 or name in taken:
            name = "__".join(_plain(part) for part in ref.parts)
        while name in taken:
            name += "_"
        names[ref] = name
        taken.add(name)
    return {ref: names[ref] for ref in ordered}


def shard_name(ref: TableRef) -> str:
    """Name the shard that holds a table: its schema, after the catalog where there is one.

    >>> shard_name(TableRef(schema="sales", name="orders")), shard_name(TableRef(name="orders"))
    ('sales', 'public')
    """
    return ".".join(part for part in (ref.catalog, ref.schema) if part) or DEFAULT_SHARD


def known_names(shards: Iterable[Shard]) -> dict[TableRef, str]:
    """Give the source names that existing shards use."""
    return {table.ref: name for shard in shards for name, table in shard.tables.items()}


def read_decisions(shards: Iterable[Shard]) -> tuple[Relationship, ...]:
    """Give what people decided: joins marked `manual`, and rejected ones."""
    return tuple(_stored(shards, wanted="manual"))


def read_inferred(shards: Iterable[Shard]) -> tuple[Relationship, ...]:
    """Give the joins that earlier scans inferred, from their many side."""
    return tuple(_stored(shards, wanted="inferred"))


def merge_shards(
    structure: Structure,
    names: Mapping[TableRef, str],
    old: Mapping[str, Shard],
    *,
    descriptions: Mapping[TableRef, Descriptions],
    usage: Mapping[TableRef, dict[str, object]] | None = None,
) -> dict[str, Shard]:
    """Give the manifest after a scan, by shard name; shards whose tables are all gone are left out.

    A table that `usage` does not name keeps what it had.
    """
    previous = {name: table for shard in old.values() for name, table in shard.tables.items()}
    joins = _joins_by_table(structure, names, previous)
    rejected = _rejected_by_table(structure, names)
    tables: defaultdict[str, dict[str, ShardTable]] = defaultdict(dict)
    for table in structure.catalog.tables:
        name = names[table.ref]
        tables[shard_name(table.ref)][name] = _merge_table(
            table,
            structure.keys.get(table.ref, ()),
            previous.get(name),
            joins=joins.get(table.ref, []),
            rejected=rejected.get(table.ref, []),
            found=descriptions.get(table.ref, Descriptions()),
            usage=(usage or {}).get(table.ref),
        )
    return {
        shard: Shard(tables=found, **dict(old[shard].model_extra or {}) if shard in old else {})
        for shard, found in sorted(tables.items())
    }


def read_condition(
    on: str, *, source: str, target: str, alias: str | None = None
) -> tuple[tuple[tuple[str, str], ...], tuple[str, str, bool] | None] | None:
    """Take a join condition apart: equal column pairs, and at most one `column = 'text'` with whether it is the own side's.

    Gives None for any other condition.

    >>> read_condition("a.x = b.y AND a.kind = 'B'", source="a", target="b")
    ((('x', 'y'),), ('kind', 'B', True))
    """
    try:
        tree = sqlglot.parse_one(on, into=exp.Condition)
    except sqlglot.ParseError:
        return None
    pairs: list[tuple[str, str]] = []
    constant: tuple[str, str, bool] | None = None
    others = {target, alias or target}
    for part in tree.flatten() if isinstance(tree, exp.And) else (tree,):
        if not isinstance(part, exp.EQ) or not isinstance(part.left, exp.Column):
            return None
        left, right = part.left, part.right
        if isinstance(right, exp.Literal) and right.is_string and constant is None:
            constant = (left.name, right.name, left.table == source)
        elif not isinstance(right, exp.Column):
            return None
        elif left.table == source and right.table in others:
            pairs.append((left.name, right.name))
        elif right.table == source and left.table in others:
            pairs.append((right.name, left.name))
        else:
            return None
    return (tuple(pairs), constant) if pairs else None


def _stored(shards: Iterable[Shard], *, wanted: str) -> Iterable[Relationship]:
    tables = {name: table for shard in shards for name, table in shard.tables.items()}
    for name, table in tables.items():
        for join in table.joins:
            target = tables.get(join.to)
            if target is None or join.source != wanted or join.relationship == "one_to_many":
                continue
            read = read_condition(join.on, source=name, target=join.to, alias=join.alias)
            if read is not None and (read[1] is None or read[1][2]):
                yield _relationship(table, target, read, cardinality=join.relationship, is_rejected=False)
        for join in table.rejected_joins if wanted == "manual" else ():
            target = tables.get(join.to)
            read = read_condition(join.on, source=name, target=join.to) if target else None
            if target is not None and read is not None:
                yield _relationship(table, target, read, cardinality="many_to_one", is_rejected=True)


def _relationship(
    table: ShardTable,
    target: ShardTable,
    read: tuple[tuple[tuple[str, str], ...], tuple[str, str, bool] | None],
    *,
    cardinality: Cardinality,
    is_rejected: bool,
) -> Relationship:
    pairs, constant = read
    return Relationship(
        source=table.ref,
        source_columns=tuple(own for own, _ in pairs),
        target=target.ref,
        target_columns=tuple(other for _, other in pairs),
        cardinality=cardinality,
        origin="manual",
        decision="rejected" if is_rejected else "accepted",
        condition=constant[:2] if constant else None,
    )


def _merge_table(
    table: Table,
    key: tuple[str, ...],
    old: ShardTable | None,
    *,
    joins: list[ShardJoin],
    rejected: list[RejectedJoin],
    found: Descriptions,
    usage: dict[str, object] | None,
) -> ShardTable:
    columns_before = {column.name: column for column in old.columns} if old else {}
    columns: list[ShardColumn] = []
    for column in table.columns:
        before = columns_before.get(column.name)
        columns.append(
            ShardColumn(
                name=column.name,
                type=column.kind,
                pk=column.name in key,
                nullable=column.is_nullable and column.name not in key,
                descriptions=_texts(
                    before.descriptions if before else {}, column.comment, found.columns.get(column.name)
                ),
                **dict(before.model_extra or {}) if before else {},
            )
        )
    return ShardTable(
        table=table_text(table.ref),
        descriptions=_texts(old.descriptions if old else {}, table.comment, found.table),
        usage=usage if usage is not None else old.usage if old else None,
        columns=columns,
        joins=joins,
        rejected_joins=rejected,
        **dict(old.model_extra or {}) if old else {},
    )


def _texts(before: Mapping[str, str], comment: str | None, written: str | None) -> dict[str, str]:
    """Merge descriptions: the database's own follow the database, a model's stay until there is a new one."""
    texts = {author: text for author, text in before.items() if author != "db"}
    if comment and comment.strip():
        texts["db"] = comment.strip()
    if written:
        texts["ai"] = written
    return texts


def _joins_by_table(
    structure: Structure, names: Mapping[TableRef, str], previous: Mapping[str, ShardTable]
) -> dict[TableRef, list[ShardJoin]]:
    present, taken = set(names), set(names.values())
    joins: defaultdict[TableRef, list[ShardJoin]] = defaultdict(list)
    relationships = _without_mirrors(structure.relationships)
    outgoing = Counter((one.source, one.target) for one in relationships)
    for one in relationships:
        if not {one.source, one.target} <= present:
            continue
        is_role = one.source == one.target or outgoing[one.source, one.target] > 1
        role = role_name(one, names) if is_role else None
        joins[one.source].append(make_join(one, names, alias=role))
        if one.source != one.target:
            back = f"{names[one.source]}_by_{role}" if role else None
            joins[one.target].append(make_inverse(one, names, alias=back))
    for ref, found in joins.items():
        before = previous.get(names[ref])
        joins[ref] = _kept(found, before, names[ref])
        _add_unreadable(joins[ref], before, taken, names[ref])
    for name, table in previous.items():
        ref = table.ref
        if ref in present and ref not in joins:
            kept: list[ShardJoin] = []
            _add_unreadable(kept, table, taken, name)
            if kept:
                joins[ref] = kept
    return dict(joins)


def _without_mirrors(relationships: Sequence[Relationship]) -> list[Relationship]:
    """Give each relationship once, in order: a join stands on both sides, and reads like two when both have one partner."""
    ranks = {"manual": 0, "formal": 1, "inferred": 2}
    kept: dict[tuple[object, ...], Relationship] = {}
    for one in sorted(relationships, key=lambda one: (ranks[one.origin], *_order(one))):
        if one.mirror not in kept:
            kept.setdefault(one.identity, one)
    return sorted(kept.values(), key=_order)


def _kept(found: list[ShardJoin], before: ShardTable | None, name: str) -> list[ShardJoin]:
    """Keep the text, the alias and the added keys of joins that were there before."""
    known: dict[object, ShardJoin] = {}
    for join in before.joins if before else ():
        read = read_condition(join.on, source=name, target=join.to, alias=join.alias)
        if read is not None:
            known[join.to, frozenset(read[0]), read[1]] = join
    result: list[ShardJoin] = []
    for join in found:
        read = read_condition(join.on, source=name, target=join.to, alias=join.alias)
        old = known.get((join.to, frozenset(read[0]), read[1])) if read else None
        if old is None:
            result.append(join)
        else:
            relationship = old.relationship if join.source == "manual" else join.relationship
            result.append(old.model_copy(update={"relationship": relationship, "source": join.source}))
    return result


def _add_unreadable(joins: list[ShardJoin], before: ShardTable | None, names: set[str], name: str) -> None:
    """Carry over a person's joins whose condition is more than equal columns."""
    for join in before.joins if before else ():
        is_plain = read_condition(join.on, source=name, target=join.to, alias=join.alias) is not None
        is_back = join.relationship == "one_to_many"
        if join.source == "manual" and join.to in names and (not is_plain or is_back) and join not in joins:
            same = any(one.to == join.to and one.on == join.on for one in joins)
            if not same:
                joins.append(join)


def make_join(one: Relationship, names: Mapping[TableRef, str], *, alias: str | None) -> ShardJoin:
    """Write a relationship as the join of its own side."""
    own, to = names[one.source], names[one.target]
    on = join_text(own, one.source_columns, alias or to, one.target_columns)
    return ShardJoin(
        to=to, on=on + _condition(one, own), relationship=one.cardinality, source=one.origin, alias=alias
    )


def make_inverse(one: Relationship, names: Mapping[TableRef, str], *, alias: str | None) -> ShardJoin:
    """Write a relationship as the join of the other side."""
    own, to = names[one.target], names[one.source]
    on = join_text(own, one.target_columns, alias or to, one.source_columns)
    return ShardJoin(
        to=to,
        on=on + _condition(one, alias or to),
        relationship=_INVERSE[one.cardinality],
        source=one.origin,
        alias=alias,
    )


def _condition(one: Relationship, side: str) -> str:
    if one.condition is None:
        return ""
    left = exp.column(exp.to_identifier(one.condition[0]), table=exp.to_identifier(side))
    return " AND " + exp.EQ(this=left, expression=exp.Literal.string(one.condition[1])).sql()


def role_name(one: Relationship, names: Mapping[TableRef, str]) -> str:
    """Name the role that the target plays, by the referring columns: `ship_address_id` gives `ship_address`."""
    parts = [part for column in one.source_columns for part in words(column)]
    if len(parts) > 1 and parts[-1] in _KEY_ENDINGS:
        parts = parts[:-1]
    role = "_".join(parts) or names[one.target]
    if one.condition is not None:
        role += "_" + "_".join(words(one.condition[1]))
    return f"{role}_of_{names[one.source]}" if role in set(names.values()) else role


def _rejected_by_table(
    structure: Structure, names: Mapping[TableRef, str]
) -> dict[TableRef, list[RejectedJoin]]:
    found: defaultdict[TableRef, list[RejectedJoin]] = defaultdict(list)
    for one in sorted(structure.rejected, key=_order):
        if one.source in names and one.target in names:
            on = join_text(names[one.source], one.source_columns, names[one.target], one.target_columns)
            on += _condition(one, names[one.source])
            found[one.source].append(RejectedJoin(to=names[one.target], on=on))
    return dict(found)


def _order(one: Relationship) -> tuple[object, ...]:
    return (one.source.parts, one.source_columns, one.target.parts, one.target_columns, one.condition or ())


def _plain(name: str) -> str:
    return name.replace(".", "_")
