"""Finding the keys and relationships of a catalog: names propose, data disposes, one score decides, a budget bounds it."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ktx.catalog import Catalog, Evidence, Relationship, TableProfile, TableRef
from ktx.scan.reading import ObservedJoin
from ktx.scan.relationships.candidates import Candidate, name_candidates
from ktx.scan.relationships.composite import composite_candidates
from ktx.scan.relationships.families import can_compare, family
from ktx.scan.relationships.keys import Key, Keys, find_keys, is_unique
from ktx.scan.relationships.naming import Naming, read_names
from ktx.scan.relationships.observed import Observed
from ktx.scan.relationships.polymorphic import polymorphic_candidates
from ktx.scan.relationships.probe import Answer, Budget, Probe, Question
from ktx.scan.relationships.rounds import ask_all
from ktx.scan.relationships.score import Thresholds, decide, score, surprise, surprise_bits
from ktx.scan.relationships.siblings import sibling_candidates
from ktx.scan.relationships.values import value_candidates

_NEAR = 0.015
_GUESSED_KEY = 0.97
_LEAST_CONFIDENCE = 0.55
_SIBLING = 0.55
_SIBLING_ROUNDS = 2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How relationships are sought. `budget` counts queries, `limit_s` the time for them; None is no limit."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    max_candidates_per_column: int = 25
    budget: int | None = None
    limit_s: float | None = None
    concurrency: int = 1
    is_validation_required: bool = True
    observed: tuple[ObservedJoin, ...] = ()
    """Joins of past queries."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found: keys, relationships (accepted, for review, and those that data refuted), and what was not asked."""

    keys: Keys
    relationships: tuple[Relationship, ...]
    unasked: tuple[str, ...] = ()
    queries: int = 0

    def decided(self, decision: str) -> tuple[Relationship, ...]:
        """Give the relationships of one decision."""
        return tuple(one for one in self.relationships if one.decision == decision)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A reference that somebody outside thinks likely, with a confidence from 0 to 1; the data has not been asked."""

    table: TableRef
    columns: tuple[str, ...]
    target: TableRef
    target_columns: tuple[str, ...]
    confidence: float
    reason: str


@dataclass(kw_only=True)
class _Search:
    """What one search knows and has learned so far."""

    catalog: Catalog
    profiles: Mapping[TableRef, TableProfile]
    naming: Naming
    keys: Keys
    settings: Settings
    probe: Probe | None
    budget: Budget
    observed: Observed
    found: list[Relationship] = field(default_factory=list[Relationship])
    decided: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])
    solved: set[tuple[TableRef, str]] = field(default_factory=set[tuple[TableRef, str]])
    proven: dict[tuple[TableRef, tuple[str, ...]], bool] = field(
        default_factory=dict[tuple[TableRef, tuple[str, ...]], bool]
    )


def find_relationships(
    catalog: Catalog,
    profiles: Mapping[TableRef, TableProfile],
    *,
    settings: Settings,
    probe: Probe | None = None,
    decided: Sequence[Relationship] = (),
) -> Found:
    """Find keys and relationships; declared foreign keys and a person's decisions (`decided`) stand as they are.

    Without a `probe` only names and types speak. The result's order depends on the catalog alone.
    """
    until = None if settings.limit_s is None else time.monotonic() + settings.limit_s
    budget = Budget(limit=settings.budget, until=until)
    naming = read_names(catalog)
    keys = find_keys(catalog, profiles, naming, probe=probe, budget=budget)
    search = _Search(
        catalog=catalog,
        profiles=profiles,
        naming=naming,
        keys=keys,
        settings=settings,
        probe=probe,
        budget=budget,
        observed=Observed(settings.observed),
    )
    _keep_decided(search, decided)
    _keep_declared(search)
    _follow_types(search)
    _follow_composites(search)
    _follow_observed(search)
    _follow_names(search)
    _follow_values(search)
    _follow_siblings(search)
    _settle_mutual(search)
    order = tuple(sorted(search.found, key=_order))
    return Found(keys=keys, relationships=order, unasked=tuple(budget.unasked), queries=budget.spent)


def weigh_proposals(
    found: Found,
    proposals: Sequence[Proposal],
    *,
    catalog: Catalog,
    profiles: Mapping[TableRef, TableProfile],
    settings: Settings,
    probe: Probe | None,
) -> Found:
    """Ask the data about proposals and add what holds; a proposal by itself accepts nothing, and none without rows."""
    likely = [one for one in proposals if one.confidence >= _LEAST_CONFIDENCE]
    if not likely:
        return found
    left = None if settings.budget is None else max(settings.budget - found.queries, len(likely))
    search = _Search(
        catalog=catalog,
        profiles=profiles,
        naming=read_names(catalog),
        keys=found.keys,
        settings=settings,
        probe=probe,
        budget=Budget(limit=left),
        observed=Observed(settings.observed),
        found=list(found.relationships),
    )
    taken = {one.identity for one in found.relationships}
    candidates = [
        Candidate(
            table=one.table,
            columns=one.columns,
            key=_key_of(search, one),
            name=0.0,
            why="",
            proposed=0.5 + 0.3 * one.confidence,
            reason=one.reason,
        )
        for one in likely
        if (one.table, one.columns, one.target, one.target_columns, None) not in taken
    ]
    candidates = [one for one in candidates if _is_comparable(search, one)]
    _choose(search, _judge(search, candidates))
    _settle_mutual(search)
    return Found(
        keys=found.keys,
        relationships=tuple(sorted(search.found, key=_order)),
        unasked=(*found.unasked, *search.budget.unasked),
        queries=found.queries + search.budget.spent,
    )


def _key_of(search: _Search, one: Proposal) -> Key:
    primary = search.keys.primary.get(one.target)
    known = [key for key in (primary, *search.keys.alternates.get(one.target, ())) if key]
    guessed = Key(table=one.target, columns=one.target_columns, score=0.5, is_proven=False)
    return next((key for key in known if key.columns == one.target_columns), guessed)


def _is_comparable(search: _Search, one: Candidate) -> bool:
    own, target = search.catalog.table(one.table), search.catalog.table(one.key.table)
    pairs = zip(one.columns, one.key.columns, strict=True)
    sides = [(own.column(left), target.column(right)) for left, right in pairs] if own and target else []
    return bool(sides) and all(
        left is not None and right is not None and can_compare(family(left), family(right))
        for left, right in sides
    )


def _order(one: Relationship) -> tuple[object, ...]:
    return (one.source, one.source_columns, one.target, one.target_columns)


def _keep_decided(search: _Search, decided: Sequence[Relationship]) -> None:
    known = {table.ref: {column.name for column in table.columns} for table in search.catalog.tables}
    kept: set[tuple[object, ...]] = set()
    for one in decided:
        if set(one.source_columns) <= known.get(one.source, set()) and set(one.target_columns) <= known.get(
            one.target, set()
        ):
            if one.decision == "rejected" or one.mirror not in kept:
                search.found.append(one)
                kept.add(one.identity)
            if one.origin == "manual":
                search.decided.add((one.source, one.source_columns, one.target, one.target_columns))
            if one.decision == "accepted" and len(one.source_columns) == 1 and not one.condition:
                search.solved.add((one.source, one.source_columns[0]))


def _keep_declared(search: _Search) -> None:
    seen = {one.identity for one in search.found}
    for table in search.catalog.tables:
        for key in table.foreign_keys:
            if search.catalog.table(key.target) is None:
                continue
            own = search.keys.primary.get(table.ref)
            is_whole_row = own is not None and set(own.columns) == set(key.columns)
            one = Relationship(
                source=table.ref,
                source_columns=key.columns,
                target=key.target,
                target_columns=key.target_columns,
                cardinality="one_to_one" if is_whole_row else "many_to_one",
                origin="formal",
                evidence=(Evidence(signal="declared", strength=1.0, detail="declared as a foreign key"),),
            )
            if len(key.columns) == 1:
                search.solved.add((table.ref, key.columns[0]))
            if one.identity not in seen:
                search.found.append(one)


def _follow_names(search: _Search) -> None:
    candidates = [
        one
        for one in name_candidates(
            search.catalog,
            search.naming,
            search.keys,
            max_per_column=search.settings.max_candidates_per_column,
        )
        if (one.table, one.columns[0]) not in search.solved and not _was_decided(search, one)
    ]
    by_column: defaultdict[tuple[TableRef, str], list[Candidate]] = defaultdict(list)
    for one in candidates:
        by_column[one.table, one.columns[0]].append(one)
    first = [one for ranked in by_column.values() for one in ranked[:2]]
    judged = _judge(search, sorted(first, key=lambda one: one.order))
    settled = {(one.source, one.source_columns[0]) for one in judged if one.decision == "accepted"}
    rest = [one for spot, ranked in by_column.items() if spot not in settled for one in ranked[2:]]
    judged += _judge(search, sorted(rest, key=lambda one: one.order))
    _choose(search, judged)


def _follow_composites(search: _Search) -> None:
    candidates = [
        one
        for one in composite_candidates(search.catalog, search.naming, search.keys)
        if not _was_decided(search, one)
    ]
    for one in _judge(search, candidates):
        if one.decision != "rejected":
            search.found.append(one)


def _follow_observed(search: _Search) -> None:
    known = {one.identity for one in search.found}
    candidates = [
        one
        for one in search.observed.candidates(search.catalog, search.keys)
        if not _was_decided(search, one)
        and (one.table, one.columns[0]) not in search.solved
        and (one.table, one.columns, one.key.table, one.key.columns, None) not in known
    ]
    judged = _judge(search, candidates)
    _choose(search, [one for one in judged if len(one.source_columns) == 1])
    search.found.extend(one for one in judged if len(one.source_columns) > 1 and one.decision != "rejected")


def _follow_types(search: _Search) -> None:
    candidates = polymorphic_candidates(search.catalog, search.profiles, search.naming, search.keys)
    by_table: defaultdict[TableRef, list[Question]] = defaultdict(list)
    keys: dict[Question, Key] = {}
    for one in candidates:
        search.solved.add((one.table, one.column))
        question = Question(
            table=one.table,
            columns=(one.column,),
            target=one.key.table,
            target_columns=one.key.columns,
            as_text=_needs_text(search, one.table, one.column, one.key),
            where=(one.type_column, one.type_value),
        )
        keys[question] = one.key
        by_table[one.table].append(question)
    answers = _ask(search, by_table)
    for question, answer in answers.items():
        if answer is None or not answer.checked:
            continue
        total = score(name=0.95, key=1.0, coverage=answer.coverage)
        decision = decide(total, search.settings.thresholds, coverage=answer.coverage)
        if decision == "rejected" or question.where is None:
            continue
        evidence = (
            Evidence(
                signal="names",
                strength=0.95,
                detail=f"`{question.where[0]}` = '{question.where[1]}' names the table",
            ),
            _inclusion_evidence(answer),
        )
        search.found.append(
            Relationship(
                source=question.table,
                source_columns=question.columns,
                target=question.target,
                target_columns=question.target_columns,
                decision=decision,
                score=total,
                evidence=evidence,
                condition=question.where,
            )
        )


def _follow_values(search: _Search) -> None:
    if search.probe is None:
        return
    solved = search.solved | {
        (one.source, name)
        for one in search.found
        if one.decision != "rejected"
        for name in one.source_columns
    }
    candidates = value_candidates(
        search.catalog,
        search.profiles,
        search.naming,
        search.keys,
        solved=frozenset(solved),
        probe=search.probe,
        budget=search.budget,
    )
    named = [
        Candidate(table=one.table, columns=(one.column,), key=one.key, name=0.0, why="")
        for one in candidates
        if not _was_decided(
            search, Candidate(table=one.table, columns=(one.column,), key=one.key, name=0.0, why="")
        )
    ]
    _choose(search, _judge(search, named))


def _follow_siblings(search: _Search) -> None:
    """Look where one column's target is known for columns that play another role: `origin` beside `dest`.

    Their values alone are too few to speak. What is found waits for a person.
    """
    if search.probe is None:
        return
    for _ in range(_SIBLING_ROUNDS):
        taken = {(one.source, one.source_columns[0]) for one in search.found if len(one.source_columns) == 1}
        found = sibling_candidates(
            search.catalog, search.profiles, search.naming, search.keys, search.found, taken=frozenset(taken)
        )
        judged = _judge(search, [one.candidate for one in found])
        fresh = [
            _as_sibling(made, one.why, _value_strength(search, one.candidate))
            for one, made in zip(found, judged, strict=True)
            if any(reason.signal == "data" and reason.strength == 1.0 for reason in made.evidence)
        ]
        if not fresh:
            return
        _choose(search, fresh)


def _as_sibling(one: Relationship, why: str, value: float) -> Relationship:
    total = round(0.9 * score(name=_SIBLING, key=1.0, value=value, coverage=1.0), 4)
    evidence = Evidence(signal="siblings", strength=_SIBLING, detail=why)
    return replace(one, score=total, decision="review", evidence=(evidence, *one.evidence))


def _judge(search: _Search, candidates: Sequence[Candidate]) -> list[Relationship]:
    """Ask the data about candidates and score them, in their order."""
    by_table: defaultdict[TableRef, list[Question]] = defaultdict(list)
    for one in candidates:
        if _has_rows(search, one):
            by_table[one.table].append(_question(search, one))
    answers = _ask(search, by_table)
    return [_relationship(search, one, answers) for one in candidates]


def _relationship(search: _Search, one: Candidate, answers: Mapping[Question, Answer | None]) -> Relationship:
    key = 1.0 if one.key.is_declared or one.key.is_proven else _GUESSED_KEY
    evidence: list[Evidence] = []
    if one.name:
        own = ", ".join(one.columns)
        evidence.append(Evidence(signal="names", strength=one.name, detail=f"`{own}` {one.why}"))
    said = one.name
    if one.proposed:
        detail = f"a model proposes it: {one.reason}"
        evidence.append(Evidence(signal="model", strength=round(one.proposed, 2), detail=detail))
        said = 1 - (1 - said) * (1 - one.proposed)
    used = search.observed.evidence(one)
    if used is not None:
        evidence.append(used)
        said = 1 - (1 - said) * (1 - used.strength)
    said = round(said, 4)
    answer = answers.get(_question(search, one)) if _has_rows(search, one) else None
    if answer is None or not answer.checked:
        total = score(name=said, key=key)
        decision = decide(total, search.settings.thresholds)
        if decision == "accepted" and search.settings.is_validation_required:
            decision = "review"
        evidence.append(Evidence(signal="data", strength=0.0, detail="not checked on data"))
        return _made(search, one, total=total, decision=decision, evidence=evidence)
    value = _value_strength(search, one)
    if value:
        detail = "values that would hardly meet by accident" if value >= 0.5 else "few values to go by"
        evidence.append(Evidence(signal="values", strength=round(value, 2), detail=detail))
    evidence.append(_inclusion_evidence(answer))
    total = score(name=said, key=key, value=value, coverage=answer.coverage)
    if said < 0.7 and value < 0.5:
        total = round(total * 0.9, 4)
    decision = decide(total, search.settings.thresholds, coverage=answer.coverage)
    if decision == "accepted" and not _is_key_proven(search, one.key):
        decision = "rejected"
        evidence.append(Evidence(signal="key", strength=0.0, detail="the target column holds duplicates"))
    return _made(search, one, total=total, decision=decision, evidence=evidence)


def _made(
    search: _Search, one: Candidate, *, total: float, decision: str, evidence: Iterable[Evidence]
) -> Relationship:
    own = search.keys.primary.get(one.table)
    is_whole_row = own is not None and own.is_proven and set(own.columns) == set(one.columns)
    made = Relationship(
        source=one.table,
        source_columns=one.columns,
        target=one.key.table,
        target_columns=one.key.columns,
        cardinality="one_to_one" if is_whole_row else "many_to_one",
        score=total,
        evidence=tuple(evidence),
    )
    match decision:
        case "accepted":
            return made
        case "review":
            return replace(made, decision="review")
        case _:
            return replace(made, decision="rejected")


def _choose(search: _Search, judged: Sequence[Relationship]) -> None:
    """Keep one target per column: the best. When two are as good, a person decides between them."""
    by_column: defaultdict[tuple[TableRef, tuple[str, ...]], list[Relationship]] = defaultdict(list)
    for one in judged:
        by_column[one.source, one.source_columns].append(one)
    for spot, rivals in by_column.items():
        ranked = sorted(rivals, key=lambda one: (-one.score, one.target, one.target_columns))
        best = next((one for one in ranked if one.decision == "accepted"), None)
        if best is None:
            search.found.extend([one for one in ranked if one.decision == "review"][:3])
            continue
        tied = [one for one in ranked if one.decision == "accepted" and best.score - one.score < _NEAR]
        if len(tied) > 1:
            search.found.extend(replace(one, decision="review") for one in tied[:3])
        else:
            search.found.append(best)
            search.solved.add((spot[0], spot[1][0]))


def _settle_mutual(search: _Search) -> None:
    """Of two references in opposite directions between the same columns, keep the surer one."""
    by_identity = {one.identity: one for one in search.found}
    dropped: set[int] = set()
    for one in search.found:
        other = by_identity.get(
            (one.target, one.target_columns, one.source, one.source_columns, one.condition)
        )
        if other is None or one is other or one.origin != "inferred":
            continue
        mine = (one.decision == "accepted", one.score, one.target)
        theirs = (other.decision == "accepted", other.score, other.target)
        if other.origin != "inferred" or theirs > mine:
            dropped.add(id(one))
    search.found = [one for one in search.found if id(one) not in dropped]


def _ask(search: _Search, by_table: Mapping[TableRef, Sequence[Question]]) -> dict[Question, Answer | None]:
    if search.probe is None:
        return {}
    return ask_all(
        by_table, probe=search.probe, budget=search.budget, concurrency=search.settings.concurrency
    )


def _have_few_rows(search: _Search, *tables: TableRef) -> bool:
    profiles = [search.profiles.get(table) for table in tables]
    return all(profile is not None and profile.is_exact for profile in profiles)


def _question(search: _Search, one: Candidate) -> Question:
    return Question(
        table=one.table,
        columns=one.columns,
        target=one.key.table,
        target_columns=one.key.columns,
        as_text=any(
            _needs_text(search, one.table, name, one.key, other)
            for name, other in zip(one.columns, one.key.columns, strict=True)
        ),
        has_few_rows=_have_few_rows(search, one.table, one.key.table),
    )


def _needs_text(search: _Search, table: TableRef, name: str, key: Key, other: str | None = None) -> bool:
    own = search.catalog.table(table)
    target = search.catalog.table(key.table)
    left = own.column(name) if own else None
    right = target.column(other or key.columns[0]) if target else None
    return left is not None and right is not None and family(left) != family(right)


def _has_rows(search: _Search, one: Candidate) -> bool:
    own, target = search.profiles.get(one.table), search.profiles.get(one.key.table)
    return bool(search.probe and own and own.profiled_rows and target and target.profiled_rows)


def _value_strength(search: _Search, one: Candidate) -> float:
    if len(one.columns) != 1:
        return 0.0
    table = search.catalog.table(one.key.table)
    column = table.column(one.key.columns[0]) if table else None
    own, target = search.profiles.get(one.table), search.profiles.get(one.key.table)
    child = own.column(one.columns[0]) if own else None
    parent = target.column(one.key.columns[0]) if target else None
    if column is None or child is None or parent is None:
        return 0.0
    return surprise(surprise_bits(child, parent, family(column)), count=child.distinct_count)


def _is_key_proven(search: _Search, key: Key) -> bool:
    """Whether the target has no duplicates in all its rows; costs a query only where a sample was profiled."""
    if key.is_declared or (key.is_proven and len(key.columns) > 1):
        return True
    spot = (key.table, key.columns)
    if spot not in search.proven:
        profile = search.profiles.get(key.table)
        if len(key.columns) == 1 and profile is not None and profile.is_exact:
            search.proven[spot] = is_unique(profile, *key.columns) is not False
        elif search.probe is not None and search.budget.spend(
            f"whether {key.table} repeats {', '.join(key.columns)}"
        ):
            counted = search.probe.count_distinct(key.table, key.columns)
            search.proven[spot] = counted is None or counted.distinct >= counted.rows
        else:
            search.proven[spot] = True
    return search.proven[spot]


def _inclusion_evidence(answer: Answer) -> Evidence:
    if answer.missing:
        detail = f"{answer.missing:,} of {answer.checked:,} distinct values have no partner"
    else:
        detail = f"all {answer.checked:,} distinct values found"
    return Evidence(signal="data", strength=round(answer.coverage, 4), detail=detail)


def _was_decided(search: _Search, one: Candidate) -> bool:
    return (one.table, one.columns, one.key.table, one.key.columns) in search.decided
