"""Random questions to a world: mostly answerable, now and then beyond what the joins allow."""

from __future__ import annotations

import random

from oracle.answer import Map, Step
from oracle.invent import condition_on
from oracle.world import Ask, Condition, Dim, Having, Leaf, Logic, Order, Question, Ref, Src, World

_GRANULARITIES = ["day", "week", "month", "quarter", "year"]


def ask(rng: random.Random, world: World) -> Question:
    """Invent a question."""
    return _Asker(rng, world).ask()


class _Asker:
    def __init__(self, rng: random.Random, world: World) -> None:
        self.rng = rng
        self.world = world
        self.map = Map(world)

    def ask(self) -> Question:
        rng = self.rng
        homes = self._homes()
        measures = tuple(self._measure(rng.choice(homes), at) for at in range(rng.choice([1, 1, 2, 2, 3])))
        measures = tuple(dict.fromkeys(measures))
        used = list(dict.fromkeys(self._home(one) for one in measures))
        reachable = self._reachable(used)
        dims: list[Dim] = []
        for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3])):
            dim = self._dim(reachable, used)
            if dim is not None and all(one.ref != dim.ref for one in dims):
                dims.append(dim)
        filters = tuple(self._filter(reachable, used) for _ in range(rng.choice([0, 0, 1, 1, 2])))
        havings = (self._having(measures, used),) if rng.random() < 0.12 else ()
        segments = tuple(self._segments(used)) if rng.random() < 0.15 else ()
        width = len(dims) + len(measures)
        order: tuple[Order, ...] = ()
        if width and rng.random() < 0.4:
            positions = rng.sample(range(width), rng.randint(1, min(2, width)))
            order = tuple(Order(position, rng.choice(["asc", "desc"])) for position in positions)
        return Question(
            measures=measures,
            dimensions=tuple(dims),
            filters=filters,
            havings=havings,
            segments=segments,
            order=order,
            limit=rng.randint(1, 4) if rng.random() < 0.2 else None,
            include_empty=rng.random() < 0.6,
        )

    def _homes(self) -> list[str]:
        """Pick one to three sources to measure; those that share something reachable more often."""
        rng = self.rng
        names = list(self.world.sources)
        weights = [4 if name in {"orders", "tickets", "visits", "payments"} else 1 for name in names]
        return list(dict.fromkeys(rng.choices(names, weights, k=rng.choice([1, 1, 2, 2, 3]))))

    def _measure(self, home: str, at: int) -> Ask:
        rng = self.rng
        source = self.world.sources[home]
        if rng.random() < 0.8:
            return Ask(measure=f"{home}.{rng.choice(list(source.measures))}")
        numbers = [col for col in source.columns if col.kind in {"int", "float"}]
        if not numbers or rng.random() < 0.3:
            leaf = Leaf(rng.choice(["count", "count_distinct"]), Ref(home, rng.choice(source.columns).name))
        else:
            leaf = Leaf(
                rng.choice(["sum", "avg", "min", "max", "median", "percentile"]),
                Ref(home, rng.choice(numbers).name),
            )
        return Ask(leaf=leaf, name=f"m{at}")

    def _home(self, one: Ask) -> str:
        if one.measure is not None:
            return one.measure.partition(".")[0]
        assert one.leaf is not None
        assert isinstance(one.leaf.value, Ref)
        return str(one.leaf.value.source)

    def _reachable(self, homes: list[str]) -> dict[str, tuple[str, tuple[Step, ...]]]:
        """Give what every home reaches to-one by exactly one way: the word to use, the source, the first way."""
        found: dict[str, tuple[str, tuple[Step, ...]]] = {}
        for at, home in enumerate(homes):
            here: dict[str, tuple[str, tuple[Step, ...]]] = {home: (home, ())}
            for way in self.map.to_one_ways(home):
                for word in {way[-1].name, way[-1].target}:
                    here.setdefault(word, (way[-1].target, way))
            found = here if at == 0 else {word: found[word] for word in found if word in here}
        return found

    def _source_for(
        self, reachable: dict[str, tuple[str, tuple[Step, ...]]], homes: list[str]
    ) -> tuple[str, Src, tuple[str, ...]] | None:
        rng = self.rng
        if reachable and rng.random() < 0.85:
            word = rng.choice(list(reachable))
            name, way = reachable[word]
            via = (way[0].name,) if len(way) > 1 and rng.random() < 0.3 else ()
            return word, self.world.sources[name], via
        fans = self.map.fan_ways(homes[0])
        if fans and rng.random() < 0.7:
            way = rng.choice(fans)
            return way[-1].name, self.world.sources[way[-1].target], ()
        name = rng.choice(list(self.world.sources))
        return name, self.world.sources[name], ()

    def _dim(self, reachable: dict[str, tuple[str, tuple[Step, ...]]], homes: list[str]) -> Dim | None:
        rng = self.rng
        found = self._source_for(reachable, homes)
        if found is None:
            return None
        word, source, via = found
        labels = [col for col in source.columns if col.kind != "float"]
        column = rng.choice(labels or source.columns)
        granularity = (
            rng.choice(_GRANULARITIES) if column.kind in {"date", "ts"} and rng.random() < 0.8 else None
        )
        return Dim(Ref(word, column.name), granularity, via)

    def _filter(self, reachable: dict[str, tuple[str, tuple[Step, ...]]], homes: list[str]) -> Condition:
        rng = self.rng
        found = self._source_for(reachable, homes)
        assert found is not None
        word, source, _ = found
        condition = condition_on(rng, source, qualifier=word, depth=1)
        if rng.random() < 0.15:
            other = self._source_for(reachable, homes)
            assert other is not None
            condition = Logic("or", condition, condition_on(rng, other[1], qualifier=other[0], depth=0))
        return condition

    def _having(self, measures: tuple[Ask, ...], homes: list[str]) -> Having:
        rng = self.rng
        one = rng.choice(measures) if rng.random() < 0.7 else self._measure(rng.choice(homes), 9)
        return Having(
            one, rng.choice(["<", "<=", ">", ">=", "="]), float(rng.randint(-2, 12)), one in measures
        )

    def _segments(self, homes: list[str]) -> list[str]:
        return [f"{home}.picked" for home in homes if self.world.sources[home].segments][:1]
