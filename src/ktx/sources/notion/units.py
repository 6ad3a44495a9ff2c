"""Pages grouped into units of work: by where they hang in the workspace, and within bounds.

A page that comes, goes or grows changes the unit it is in, and no other: groups that are too large are split by the digits of
their pages' ids, never by counting.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ktx.files import digest


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """What is grouped: a page with its parent's id (or an empty one) and the length of its text."""

    id: str
    parent: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pages to read together, sorted by id. `top` is the page that they are, or hang below; empty at the top."""

    key: str
    top: str
    ids: tuple[str, ...]


def grouped(leaves: Sequence[Leaf], *, max_size: int) -> tuple[Group, ...]:
    """Group pages so that each group holds at most `max_size`, a single larger page aside; sorted by key."""
    by_id = {leaf.id: leaf for leaf in leaves}
    below: dict[str, list[str]] = defaultdict(list)
    for leaf in leaves:
        below[leaf.parent if leaf.parent in by_id else ""].append(leaf.id)
    trees = _trees(below)
    reached = {id_ for ids in trees.values() for id_ in ids}
    for leaf in leaves:  # pages that claim to hang below each other
        if leaf.id not in reached:
            below[""].append(leaf.id)
            below[leaf.parent].remove(leaf.id)
            trees = _trees(below)
            reached = {id_ for ids in trees.values() for id_ in ids}
    sizes = {id_: sum(by_id[one].size for one in ids) for id_, ids in trees.items()}
    return tuple(sorted(_groups("", by_id, below, trees, sizes, max_size), key=lambda group: group.key))


def _trees(below: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Give, for each page that can be reached, its id and those of all below."""
    order: list[str] = []
    stack = list(below.get("", ()))
    while stack:
        id_ = stack.pop()
        order.append(id_)
        stack += below.get(id_, ())
    trees: dict[str, tuple[str, ...]] = {}
    for id_ in reversed(order):
        trees[id_] = (id_, *(one for child in below.get(id_, ()) for one in trees[child]))
    return trees


def _groups(
    top: str,
    by_id: Mapping[str, Leaf],
    below: Mapping[str, Sequence[str]],
    trees: Mapping[str, tuple[str, ...]],
    sizes: Mapping[str, int],
    max_size: int,
) -> Iterator[Group]:
    todo = [top]
    while todo:
        here = todo.pop()
        small = [(id_, trees[id_], sizes[id_]) for id_ in below.get(here, ()) if sizes[id_] <= max_size]
        todo += [id_ for id_ in below.get(here, ()) if sizes[id_] > max_size]
        if here:
            small.append((here, (here,), by_id[here].size))
        yield from _split(here, small, "", max_size)


def _split(
    top: str, parts: Sequence[tuple[str, tuple[str, ...], int]], bits: str, max_size: int
) -> Iterator[Group]:
    if not parts:
        return
    if len(parts) == 1 or sum(size for _, _, size in parts) <= max_size or len(bits) >= 64:
        ids = tuple(sorted(id_ for _, below, _ in parts for id_ in below))
        if not top and len(parts) == 1:
            yield Group(key=parts[0][0], top=parts[0][0], ids=ids)
        else:
            yield Group(key=f"{top or 'top'}{f'/{bits}' if bits else ''}", top=top, ids=ids)
        return
    for bit in "01":
        same = [part for part in parts if _bits(part[0])[len(bits)] == bit]
        yield from _split(top, same, bits + bit, max_size)


def _bits(id_: str) -> str:
    return f"{int(digest(id_)[:16], 16):064b}"
