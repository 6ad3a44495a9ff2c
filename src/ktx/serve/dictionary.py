"""Where literal values live: the sampled values of the last scan, asked value by value."""

from collections.abc import Sequence

from ktx.search.index import Index
from ktx.search.text import any_of, fold, query_terms
from ktx.serve.answers import (
    DictionaryCoverage,
    DictionaryScope,
    DictionarySearch,
    ValueMatch,
    ValueMiss,
    ValueResult,
)
from ktx.serve.desk import Desk

_MOST_MATCHES = 20
_VISIBLE = (
    "NOT EXISTS (SELECT 1 FROM hidden h WHERE h.ref = v.source || '.' || v.column_name"
    " AND h.connection_id = v.connection_id)"
)


def dictionary_search(
    desk: Desk, values: Sequence[str], *, connection_id: str | None = None
) -> DictionarySearch:
    """Find the columns in which values were seen: the whole value first, then values that contain its words.

    Raises:
        UsageError: the connection is unknown.
    """
    chosen = (
        [desk.connection_id(connection_id)] if connection_id is not None else sorted(desk.project.warehouses)
    )
    with desk.searching() as index:
        scopes = [_scope(desk, index, connection) for connection in chosen]
        results = [_result(index, value, scopes) for value in values]
    return DictionarySearch(searched=scopes, results=results)


def _scope(desk: Desk, index: Index, connection_id: str) -> DictionaryScope:
    scanned = desk.scanned(connection_id)
    if scanned is None:
        return DictionaryScope(connection_id=connection_id, status="no_profile_artifact")
    columns, most = index.connection.execute(
        "SELECT count(*), coalesce(max(n), 0) FROM"
        " (SELECT count(*) AS n FROM value WHERE connection_id = ? GROUP BY source, column_name)",
        (connection_id,),
    ).fetchone()
    snapshot = scanned.snapshot
    coverage = DictionaryCoverage(
        sampled_rows=scanned.profiled_rows,
        values_per_column=int(most),
        profiled_columns=int(columns),
        sync_id=snapshot.sync_id,
        profiled_at=snapshot.extracted_at,
    )
    return DictionaryScope(
        connection_id=connection_id, coverage=coverage, status="ready" if columns else "no_candidate_columns"
    )


def _result(index: Index, value: str, scopes: Sequence[DictionaryScope]) -> ValueResult:
    matches: list[ValueMatch] = []
    misses: list[ValueMiss] = []
    for scope in scopes:
        if scope.status != "ready":
            misses.append(ValueMiss(connection_id=scope.connection_id, reason=scope.status))
            continue
        found = _matches(index, value, scope.connection_id)
        matches.extend(found)
        if not found:
            misses.append(ValueMiss(connection_id=scope.connection_id, reason="value_not_in_sample"))
    return ValueResult(value=value, matches=matches, misses=misses)


def _matches(index: Index, value: str, connection_id: str) -> list[ValueMatch]:
    columns = "v.source, v.column_name, v.value, v.cardinality"
    rows = index.connection.execute(
        f"SELECT {columns} FROM value v WHERE v.folded = ? AND v.connection_id = ? AND {_VISIBLE}"  # noqa: S608
        " ORDER BY v.source, v.column_name LIMIT ?",
        (fold(value), connection_id, _MOST_MATCHES),
    ).fetchall()
    terms = query_terms(value)
    if not rows and terms:
        rows = index.connection.execute(
            f"SELECT {columns} FROM value_words w CROSS JOIN value v ON v.id = w.rowid"  # noqa: S608
            f" WHERE value_words MATCH ? AND v.connection_id = ? AND {_VISIBLE} ORDER BY w.rank LIMIT ?",
            (" AND ".join(any_of((term,)) for term in terms), connection_id, _MOST_MATCHES),
        ).fetchall()
    return [
        ValueMatch(
            connection_id=connection_id,
            source_name=source,
            column_name=column,
            matched_value=seen,
            cardinality=count,
        )
        for source, column, seen, count in rows
    ]
