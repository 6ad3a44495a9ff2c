"""Asking the data in rounds: which questions share a query, within the budget, and with a rest for the database between."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ktx.catalog import TableRef
from ktx.scan.relationships.probe import Answer, Budget, Probe, Question

_PER_QUERY = 12
_QUERIES_PER_ROUND = 40


def ask_all(
    by_table: Mapping[TableRef, Sequence[Question]], *, probe: Probe, budget: Budget, concurrency: int
) -> dict[Question, Answer | None]:
    """Ask the questions in their order until the budget is spent; those that it does not reach have no answer."""
    answers: dict[Question, Answer | None] = {}
    batches = [batch for batch in _batches(by_table) if _may_ask(batch, budget)]
    for start in range(0, len(batches), _QUERIES_PER_ROUND):
        part = batches[start : start + _QUERIES_PER_ROUND]
        with ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="ktx-keys") as pool:
            for batch, found in zip(part, pool.map(probe.look_up, part), strict=True):
                answers.update(zip(batch, found, strict=True))
        if len(part) == _QUERIES_PER_ROUND:
            probe.rest()
    return answers


def _batches(by_table: Mapping[TableRef, Sequence[Question]]) -> list[list[Question]]:
    """Put questions together that one query may answer: those of one table, and of several where all have few rows."""
    batches: list[list[Question]] = []
    shared: list[Question] = []
    for questions in by_table.values():
        unique = list(dict.fromkeys(questions))
        large = [question for question in unique if not question.has_few_rows]
        batches.extend(large[start : start + _PER_QUERY] for start in range(0, len(large), _PER_QUERY))
        for question in unique:
            if not question.has_few_rows:
                continue
            if not shared or len(shared) == _PER_QUERY:
                shared = []
                batches.append(shared)
            shared.append(question)
    return batches


def _may_ask(batch: Sequence[Question], budget: Budget) -> bool:
    """Take one query from the budget; without one, note what stays unasked of each table."""
    columns: defaultdict[TableRef, set[str]] = defaultdict(set)
    for question in batch:
        columns[question.table].update(question.columns)
    first, *others = (f"references of {ref} ({', '.join(sorted(names))})" for ref, names in columns.items())
    if budget.spend(first):
        return True
    budget.unasked.extend(others)
    return False
