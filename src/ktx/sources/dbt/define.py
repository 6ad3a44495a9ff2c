"""What a project's models, sources, seeds and snapshots say about their tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ktx.catalog import TableRef
from ktx.sources.dbt_project.draft import Draft, Link, node_names, tags_of
from ktx.sources.dbt_project.expressions import Unsayable, column_names, column_of, parse_row_expression
from ktx.sources.dbt_project.parts import node_named
from ktx.sources.dbt_project.place import NoPlace, Place, place_nodes
from ktx.sources.dbt_project.plain import as_flag, as_list, as_text, as_texts
from ktx.sources.dbt_project.project import Node, Project, TestEntry
from ktx.sources.dbt_project.read import evidence_of
from ktx.sources.definition import Scalar, TestFact
from ktx.sources.evidence import Snapshot, Unmapped, UnmappedReason
from ktx.sources.source import Target

_KEY_ENDINGS: Final = ("_id", "_key", "_sk", "_fk", "_uuid")
_COMBINATIONS: Final[Mapping[tuple[str | None, str], str]] = {
    ("dbt_utils", "unique_combination_of_columns"): "combination_of_columns",
    ("dbt_expectations", "expect_compound_columns_to_be_unique"): "column_list",
}


@dataclass(kw_only=True)
class Defining:
    """The drafts of a project by node id, and what found no place."""

    project: Project
    snapshot: Snapshot
    names: Mapping[str, str]
    places: Mapping[str, Place | NoPlace]
    drafts: dict[str, Draft] = field(default_factory=dict[str, Draft])
    unmapped: list[Unmapped] = field(default_factory=list[Unmapped])

    def report(self, node: Node, what: str, reason: UnmappedReason, detail: str) -> None:
        """Name something of a node that has no place."""
        evidence = evidence_of(self.snapshot, node.patch, None if node.patch else node.path)
        self.unmapped.append(Unmapped(evidence=evidence[0], what=what, reason=reason, detail=detail))


def define_nodes(project: Project, snapshot: Snapshot, targets: Sequence[Target]) -> Defining:
    """Draft a definition for every node that has a table; two nodes of one table share it."""
    made = Defining(
        project=project,
        snapshot=snapshot,
        names=node_names(project),
        places=place_nodes(project, targets),
    )
    by_table: dict[tuple[object, object], Draft] = {}
    for node in sorted(project.nodes, key=lambda node: (node.kind == "source", node.id)):
        place = made.places[node.id]
        if isinstance(place, NoPlace):
            made.report(node, node.label, place.reason, place.detail)
            continue
        table = (place.target.connection_id, place.table.ref)
        draft = by_table.setdefault(table, Draft(name=made.names[node.id], place=place, evidence=set()))
        made.drafts[node.id] = draft
        _describe(node, draft, made)
    for node in project.nodes:
        if node.id in made.drafts:
            _relate(node, made.drafts[node.id], made)
            made.drafts[node.id].made_from = tuple(_ancestors(node, made))
    return made


def _ancestors(node: Node, made: Defining) -> Iterator[TableRef]:
    """Give the tables that a node is computed from, directly or through others, without its own."""
    nodes = {one.id: one for one in made.project.nodes}
    own = made.drafts[node.id]
    seen = {node.id}
    waiting = list(node.depends_on)
    found: set[TableRef] = set()
    while waiting:
        id_ = waiting.pop()
        if id_ in seen or id_ not in nodes:
            continue
        seen.add(id_)
        waiting.extend(nodes[id_].depends_on)
        draft = made.drafts.get(id_)
        if draft is not None and draft is not own:
            found.add(draft.place.table.ref)
    yield from sorted(found)


def _describe(node: Node, draft: Draft, made: Defining) -> None:
    draft.evidence.update(evidence_of(made.snapshot, node.path, node.patch))
    draft.description = draft.description or node.description or None
    draft.tags = tuple(dict.fromkeys((*draft.tags, *tags_of(node))))
    draft.freshness = draft.freshness or node.freshness
    for column in node.columns:
        name = draft.place.column(column.name)
        if name is None:
            made.report(
                node,
                f"column {node.name}.{column.name}",
                "unresolved_reference",
                f"`{draft.place.table.ref}` has no column `{column.name}`.",
            )
            continue
        fact = draft.fact(name)
        physical = draft.place.table.column(name)
        is_text = physical is not None and physical.kind == "string"
        draft.note(
            replace(
                fact,
                description=fact.description or column.description or None,
                is_time=fact.is_time or (is_text and _is_time_type(column.data_type)),
                is_not_null=True if column.is_not_null else fact.is_not_null,
                is_unique=True if column.is_unique else fact.is_unique,
            )
        )
        if column.is_unique:
            draft.uniques.add((name,))
    for test in node.tests:
        _apply(test, node, draft, made)
    draft.grain = draft.grain or _grain(node, draft)


def _is_time_type(data_type: str) -> bool:
    return data_type.lower().startswith(("date", "timestamp"))


def _apply(test: TestEntry, node: Node, draft: Draft, made: Defining) -> None:
    """Note what a test asserts about a column; `relationships` waits until every key is known."""
    name = draft.place.column(test.column) if test.column else None
    if (test.package, test.name) in _COMBINATIONS:
        _combine(as_texts(test.kwargs.get(_COMBINATIONS[test.package, test.name])), test, node, draft, made)
        return
    if test.package is None and test.name == "relationships" and not test.is_conditional:
        return
    if name is None:
        if test.package is None and test.name == "unique" and test.column and not test.is_conditional:
            _unique_expression(test.column, node, draft, made)
        else:
            _misplaced(test, node, draft, made)
        return
    fact = draft.fact(name)
    values = _accepted(test)
    if test.package is None and not test.is_conditional and test.name == "not_null":
        fact = replace(fact, is_not_null=True)
    elif test.package is None and not test.is_conditional and test.name == "unique":
        fact = replace(fact, is_unique=True)
        draft.uniques.add((name,))
    elif values and not test.is_conditional:
        fact = replace(fact, enum_values=tuple(dict.fromkeys((*fact.enum_values, *values))))
    else:
        facts = {*map(_sortable, fact.tests)}
        one = TestFact(name=test.name, package=test.package, kwargs=test.kwargs)
        if _sortable(one) not in facts:
            fact = replace(fact, tests=tuple(sorted((*fact.tests, one), key=_sortable)))
    draft.note(fact)


def _sortable(test: TestFact) -> tuple[str, str, str]:
    return test.package or "", test.name, repr(sorted(test.kwargs.items()))


def _accepted(test: TestEntry) -> tuple[Scalar, ...]:
    """Give the values of an `accepted_values` test: as text, as dbt quotes them, unless it says `quote: false`."""
    if test.package is not None or test.name != "accepted_values":
        return ()
    values = [one for one in as_list(test.kwargs.get("values")) if isinstance(one, str | int | float | bool)]
    if as_flag(test.kwargs.get("quote"), default=True):
        return tuple(str(one) for one in values)
    return tuple(values)


def _combine(columns: tuple[str, ...], test: TestEntry, node: Node, draft: Draft, made: Defining) -> None:
    names = [draft.place.column(column) for column in columns]
    known = tuple(name for name in names if name is not None)
    if len(known) < len(names) or not known or test.is_conditional:
        _misplaced(test, node, draft, made)
        return
    draft.uniques.add(known)


def _unique_expression(text: str, node: Node, draft: Draft, made: Defining) -> None:
    """Take a test that an expression is unique as one that its columns are, together: equal columns make it equal."""
    try:
        names = column_names(parse_row_expression(text, draft.place))
    except Unsayable as error:
        made.report(node, f"test unique of {node.name}", "unresolved_reference", str(error))
        return
    if names:
        draft.uniques.add(names)


def _misplaced(test: TestEntry, node: Node, draft: Draft, made: Defining) -> None:
    full = f"{test.package}.{test.name}" if test.package else test.name
    if test.column and draft.place.column(test.column) is None:
        detail = f"`{draft.place.table.ref}` has no column `{test.column}`."
        made.report(node, f"test {full} of {node.name}.{test.column}", "unresolved_reference", detail)
        return
    why = (
        "It looks at some rows only, or only warns" if test.is_conditional else "It is about no single column"
    )
    made.report(
        node,
        f"test {full} of {node.name}",
        "expression_not_supported",
        f"{why}; the layer holds tests of columns.",
    )


def _grain(node: Node, draft: Draft) -> tuple[str, ...]:
    """Give the key: the declared one, else a column that is unique and never null, else a unique combination."""
    declared = [draft.place.column(name) for name in node.primary_key]
    if declared and all(declared):
        return tuple(name for name in declared if name is not None)
    for column in node.columns:
        name = draft.place.column(column.name)
        if name is not None and (name,) in draft.uniques and draft.fact(name).is_not_null:
            return (name,)
    wide = sorted((key for key in draft.uniques if len(key) > 1), key=lambda key: (len(key), key))
    return wide[0] if wide else ()


def _relate(node: Node, draft: Draft, made: Defining) -> None:
    """Make joins of `relationships` tests. One that leads to rows which are not known to be single is named instead."""
    for test in node.tests:
        if test.package is not None or test.name != "relationships" or test.is_conditional:
            continue
        text, field_name = as_text(test.kwargs.get("to")), as_text(test.kwargs.get("field"))
        target = node_named(text, made.project)
        other = made.drafts.get(target.id) if target is not None else None
        what = f"test relationships of {node.name}.{test.column or '?'}"
        own_column = draft.place.column(test.column or "")
        if target is None or own_column is None:
            made.report(node, what, "unresolved_reference", f"`{text}` or its own column is not known.")
            continue
        if other is None or other.place.target.connection_id != draft.place.target.connection_id:
            made.report(
                node, what, "missing_target_table", f"`{target.name}` is no table of the same warehouse."
            )
            continue
        other_column = other.place.column(field_name)
        if other_column is None:
            made.report(
                node, what, "unresolved_reference", f"`{other.place.table.ref}` has no column `{field_name}`."
            )
            continue
        if not other.is_unique((other_column,)):
            made.report(
                node,
                what,
                "expression_not_supported",
                f"`{target.name}.{field_name}` is not known to be unique, so a join could multiply rows.",
            )
            continue
        is_single = draft.is_unique((own_column,)) and other is not draft
        draft.add_link(
            Link(
                to=other.name,
                pairs=((column_of(own_column), column_of(other_column)),),
                relationship="one_to_one" if is_single else "many_to_one",
                role=role_of(own_column, other.name),
            )
        )


def role_of(column: str, target: str) -> str:
    """Name the role of a target by the referring column, without its ending.

    >>> role_of("billing_address_id", "addresses"), role_of("ID", "addresses")
    ('billing_address', 'id')
    """
    name = column.lower()
    ending = next((one for one in _KEY_ENDINGS if name.endswith(one) and len(name) > len(one)), "")
    return name.removesuffix(ending) or target
