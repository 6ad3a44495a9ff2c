"""Make a failing question small: drop what can go while it still fails in the same way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

from oracle.world import Derived, Leaf, Question, World

Case = tuple[World, Question]


def shrink(
    world: World, question: Question, fails: Callable[[World, Question], bool], *, budget: int = 1500
) -> Case:
    """Give the smallest case found; `fails` tells whether a case shows the same fault."""
    best: Case = (world, question)
    progress = True
    while progress and budget > 0:
        progress = False
        for candidate in _smaller(*best):
            budget -= 1
            if budget <= 0:
                break
            if _still(fails, candidate):
                best = candidate
                progress = True
                break
    return best


def _still(fails: Callable[[World, Question], bool], case: Case) -> bool:
    try:
        return fails(*case)
    except (KeyError, StopIteration, RuntimeError, ValueError, IndexError, AssertionError, TypeError):
        return False


def _smaller(world: World, question: Question) -> Iterator[Case]:  # noqa: C901
    for one in _smaller_questions(question):
        yield world, one
    for name in list(world.sources):
        if len(world.sources) > 1:
            fewer = copy.deepcopy(world)
            del fewer.sources[name]
            fewer.joins = [join for join in fewer.joins if name not in {join.source, join.to}]
            yield fewer, question
    for at in range(len(world.joins)):
        fewer = copy.deepcopy(world)
        del fewer.joins[at]
        yield fewer, question
    for name, source in world.sources.items():
        for size in {max(1, len(source.rows)), max(1, len(source.rows) // 2), 1}:
            for start in range(0, len(source.rows), size):
                fewer = copy.deepcopy(world)
                del fewer.sources[name].rows[start : start + size]
                yield fewer, question
    for name, source in world.sources.items():
        for measure, formula in source.measures.items():
            fewer = copy.deepcopy(world)
            del fewer.sources[name].measures[measure]
            yield fewer, question
            if formula.filter is not None:
                plainer = copy.deepcopy(world)
                plainer.sources[name].measures[measure] = replace(formula, filter=None)
                yield plainer, question
            if isinstance(formula, Leaf) and formula.segments:
                plainer = copy.deepcopy(world)
                plainer.sources[name].measures[measure] = replace(formula, segments=())
                yield plainer, question
            if isinstance(formula, Derived) and isinstance(formula.right, str):
                plainer = copy.deepcopy(world)
                plainer.sources[name].measures[measure] = replace(formula, right=2)
                yield plainer, question
        for segment in source.segments:
            fewer = copy.deepcopy(world)
            del fewer.sources[name].segments[segment]
            yield fewer, question
        for column in source.columns:
            if column.name not in source.grain:
                fewer = copy.deepcopy(world)
                fewer.sources[name].columns = [
                    one for one in fewer.sources[name].columns if one.name != column.name
                ]
                yield fewer, question
        if source.form != "table" and source.grain:
            plainer = copy.deepcopy(world)
            plainer.sources[name].form = "table"
            plainer.sources[name].sql_filter = None
            yield plainer, question
    for at, join in enumerate(world.joins):
        for change in ({"declared": "own"}, {"constant": None}, {"span": None}):
            if any(getattr(join, key) != value for key, value in change.items()):
                plainer = copy.deepcopy(world)
                for key, value in change.items():
                    setattr(plainer.joins[at], key, value)
                yield plainer, question


def _smaller_questions(question: Question) -> Iterator[Question]:  # noqa: C901
    if question.order or question.limit is not None:
        yield replace(question, order=(), limit=None)
        if question.limit is not None:
            yield replace(question, limit=None)
    for key in ("filters", "havings", "segments"):
        parts = getattr(question, key)
        for at in range(len(parts)):
            yield replace(question, **{key: parts[:at] + parts[at + 1 :]})
    if not question.order:
        for at in range(len(question.dimensions)):
            yield replace(question, dimensions=question.dimensions[:at] + question.dimensions[at + 1 :])
        for at in range(len(question.measures)):
            if len(question.measures) > 1:
                yield replace(question, measures=question.measures[:at] + question.measures[at + 1 :])
    if question.include_empty:
        yield replace(question, include_empty=False)
    for at, condition in enumerate(question.filters):
        for side in ("left", "right", "inner"):
            smaller = getattr(condition, side, None)
            if smaller is not None and hasattr(smaller, "truth"):
                yield replace(
                    question, filters=(*question.filters[:at], smaller, *question.filters[at + 1 :])
                )
    for at, dim in enumerate(question.dimensions):
        for change in ({"granularity": None}, {"via": ()}):
            if any(getattr(dim, key) != value for key, value in change.items()):
                plainer = replace(dim, **change)  # type: ignore[arg-type]
                yield replace(
                    question, dimensions=(*question.dimensions[:at], plainer, *question.dimensions[at + 1 :])
                )
