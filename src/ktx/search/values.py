"""Sampled values that a question names, with the columns in which they were seen."""

from dataclasses import dataclass

from ktx.search.index import Index
from ktx.search.lanes import word_runs
from ktx.search.text import any_of, query_terms

_VISIBLE = (
    "NOT EXISTS (SELECT 1 FROM hidden h WHERE h.ref = v.source || '.' || v.column_name"
    " AND h.connection_id = v.connection_id)"
)
_COLUMNS = "v.connection_id, v.source, v.column_name, v.value"


@dataclass(frozen=True, kw_only=True)
class NamedValue:
    """A value as it is stored. `is_whole` when words of the question are the whole of it, not a part."""

    connection_id: str
    source: str
    column: str
    value: str
    is_whole: bool


def named_values(
    index: Index, question: str, *, connection_id: str | None = None, limit: int = 20
) -> tuple[NamedValue, ...]:
    """Give the values that the question names, whole ones first, the longer before the shorter."""
    terms = list(query_terms(question))
    if not terms:
        return ()
    runs = word_runs(
        [term.replace("  ", "").replace(" ", "") if not term.isascii() else term for term in terms]
    )
    marks = ", ".join("?" * len(runs))
    only = (connection_id, connection_id)
    whole = index.connection.execute(
        f"SELECT {_COLUMNS} FROM value v WHERE v.folded IN ({marks}) AND (? IS NULL OR v.connection_id = ?) AND {_VISIBLE}"  # noqa: S608
        " ORDER BY length(v.folded) DESC, v.connection_id, v.source, v.column_name, v.value LIMIT ?",
        [*runs, *only, limit],
    ).fetchall()
    partial = index.connection.execute(
        "SELECT v.connection_id, v.source, v.column_name, v.value FROM"  # noqa: S608
        " (SELECT rowid, rank FROM value_words WHERE value_words MATCH ? ORDER BY rank LIMIT ?) w"
        f" CROSS JOIN value v ON v.id = w.rowid WHERE (? IS NULL OR v.connection_id = ?) AND {_VISIBLE}"
        " ORDER BY round(w.rank, 6), v.connection_id, v.source, v.column_name, v.value",
        [any_of(tuple(terms)), limit * 4, *only],
    ).fetchall()
    found: dict[tuple[str, ...], bool] = {}
    for rows, is_whole in ((whole, True), (partial, False)):
        for row in rows:
            found.setdefault(tuple(map(str, row)), is_whole)
    return tuple(
        NamedValue(connection_id=one[0], source=one[1], column=one[2], value=one[3], is_whole=is_whole)
        for one, is_whole in list(found.items())[:limit]
    )
