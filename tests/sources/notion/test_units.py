import random

from hypothesis import given
from hypothesis import strategies as st

from ktx.sources.notion.units import Leaf, grouped


def random_tree(seed: int, count: int) -> list[Leaf]:
    rng = random.Random(seed)
    ids = [f"{rng.getrandbits(128):032x}" for _ in range(count)]
    return [
        Leaf(
            id=id_, parent=rng.choice(ids[:at]) if at and rng.random() < 0.9 else "", size=rng.randint(0, 900)
        )
        for at, id_ in enumerate(ids)
    ]


@given(st.integers(0, 2**32), st.integers(1, 120))
def test_every_page_is_in_exactly_one_group_within_the_bound(seed: int, count: int) -> None:
    leaves = random_tree(seed, count)
    sizes = {leaf.id: leaf.size for leaf in leaves}
    groups = grouped(leaves, max_size=1_000)
    assert sorted(id_ for group in groups for id_ in group.ids) == sorted(sizes)
    assert all(sum(sizes[id_] for id_ in group.ids) <= 1_000 for group in groups)
    assert len({group.key for group in groups}) == len(groups)


def test_a_small_workspace_is_one_group_and_a_subtree_stays_together() -> None:
    leaves = [
        Leaf(id="a", parent="", size=10),
        Leaf(id="b", parent="a", size=10),
        Leaf(id="c", parent="b", size=10),
    ]
    [whole] = grouped(leaves, max_size=100)
    assert (whole.key, whole.ids) == ("a", ("a", "b", "c"))
    groups = grouped([*leaves, Leaf(id="d", parent="a", size=90)], max_size=100)
    assert ("b", "c") in [tuple(id_ for id_ in group.ids if id_ in "bc") for group in groups]


def test_a_new_page_changes_few_groups() -> None:
    leaves = [Leaf(id=f"{at:032x}", parent="", size=100) for at in range(400)]
    before = {group.ids for group in grouped(leaves, max_size=2_000)}
    after = {
        group.ids for group in grouped([*leaves, Leaf(id="f" * 32, parent="", size=100)], max_size=2_000)
    }
    assert len(after - before) <= 2
    assert len(before) > 20


def test_pages_that_claim_to_hang_below_each_other_are_not_lost() -> None:
    leaves = [
        Leaf(id="a", parent="b", size=1),
        Leaf(id="b", parent="a", size=1),
        Leaf(id="c", parent="c", size=1),
    ]
    assert sorted(id_ for group in grouped(leaves, max_size=10) for id_ in group.ids) == ["a", "b", "c"]


def test_a_very_deep_workspace_is_grouped() -> None:
    leaves = [Leaf(id=f"{at:032x}", parent=f"{at - 1:032x}" if at else "", size=10) for at in range(3_000)]
    groups = grouped(leaves, max_size=1_000)
    assert sum(len(group.ids) for group in groups) == 3_000
