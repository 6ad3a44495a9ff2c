"""Why a scan thinks what it thinks about one column: its facts, its keys, and every relationship with its reasons."""

from dataclasses import dataclass, replace

from ktx.catalog import Catalog, Column, ColumnProfile, Relationship, Table
from ktx.errors import UsageError
from ktx.ingest import manifests
from ktx.ingest.report import Link, link_id
from ktx.project import Project, ensure_state_dir, warehouse_ids
from ktx.scan.store import ScanStore, open_store
from ktx.semantic.merge import known_names, read_decisions
from ktx.suggest import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One column as the last scan saw it. `reasons` pairs each relationship with its evidence lines, strongest first."""

    connection_id: str
    table: str
    column: Column
    row_count: int | None
    profiled_rows: int
    profile: ColumnProfile | None
    key: str
    relationships: tuple[tuple[Link, tuple[str, ...]], ...]


def explain_column(project: Project, name: str, *, connection_id: str | None = None) -> Explanation:
    """Explain `table.column`; the table may carry its schema, or be the source's name.

    Raises:
        UsageError: nothing, or more than one thing, is called so.
    """
    parts = name.split(".")
    spelled = {(".".join(parts[:at]), ".".join(parts[at:])) for at in range(1, len(parts))}
    if not spelled:
        raise UsageError(
            f"`{name}` names no column.", hint="Write TABLE.COLUMN, for instance `orders.customer_id`."
        )
    with open_store(ensure_state_dir(project)) as store:
        found: list[tuple[str, Catalog, Table, Column]] = []
        known: list[str] = []
        for one in [connection_id] if connection_id else warehouse_ids(project):
            catalog = store.catalog(one)
            if catalog is None:
                continue
            names = known_names(manifests.read_shards(project.semantic_dir, one).values())
            for table in catalog.tables:
                source = names.get(table.ref, table.ref.name)
                known.extend(f"{source}.{column.name}" for column in table.columns)
                names_of_table = {source, table.ref.name, str(table.ref)}
                wanted = {column for owner, column in spelled if owner in names_of_table}
                found.extend(
                    (one, catalog, table, column) for column in table.columns if column.name in wanted
                )
        if len(found) != 1:
            raise _not_one(name, found, known)
        where, catalog, table, column = found[0]
        return _explain(project, store, where, table, column)


def _not_one(name: str, found: list[tuple[str, Catalog, Table, Column]], known: list[str]) -> UsageError:
    if found:
        places = ", ".join(f"`{table.ref}.{column.name}` of `{one}`" for one, _, table, column in found)
        return UsageError(f"`{name}` may mean {places}.", hint="Add the schema, or --connection-id.")
    if not known:
        return UsageError("Nothing has been scanned yet.", hint="Run `ktx ingest` first.")
    return UsageError(f"No scanned column is called `{name}`.{did_you_mean(name, known)}")


def _explain(
    project: Project, store: ScanStore, connection_id: str, table: Table, column: Column
) -> Explanation:
    shards = manifests.read_shards(project.semantic_dir, connection_id)
    names = known_names(shards.values())
    profile = store.profiles(connection_id).get(table.ref)
    decided = {link_id(one): one for one in read_decisions(shards.values())}
    about = [
        _as_decided(one, decided.get(link_id(one)))
        for one in store.relationships(connection_id)
        if (one.source == table.ref and column.name in one.source_columns)
        or (one.target == table.ref and column.name in one.target_columns)
    ]
    keyed = [found for shard in shards.values() for found in shard.tables.values() if found.ref == table.ref]
    key = tuple(found.name for shard_table in keyed for found in shard_table.columns if found.pk)
    return Explanation(
        connection_id=connection_id,
        table=str(table.ref),
        column=column,
        row_count=table.row_count,
        profiled_rows=profile.profiled_rows if profile else 0,
        profile=profile.column(column.name) if profile else None,
        key=_key_text(table, column, key),
        relationships=tuple(
            (
                Link.of(
                    one,
                    source=names.get(one.source, str(one.source)),
                    target=names.get(one.target, str(one.target)),
                ),
                _reasons(one),
            )
            for one in sorted(about, key=lambda one: (-one.score, one.source, one.target))
        ),
    )


def _as_decided(one: Relationship, decided: Relationship | None) -> Relationship:
    """Give what a scan found with what a person has decided about it since."""
    return one if decided is None else replace(one, decision=decided.decision, origin=decided.origin)


def _reasons(one: Relationship) -> tuple[str, ...]:
    return tuple(f"{reason.signal} {reason.strength:.2f}: {reason.detail}" for reason in one.evidence)


def _key_text(table: Table, column: Column, key: tuple[str, ...]) -> str:
    if column.name not in key:
        return "not part of a key"
    how = "declared" if table.primary_key == key else "found on data"
    return f"primary key ({', '.join(key)}), {how}" if len(key) > 1 else f"primary key, {how}"
