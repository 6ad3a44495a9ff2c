"""What there is to know for a question, within a budget: rules, definitions, columns, ways between sources, values.

What the search finds is scored; what stands beside it in the layer (keys, times, the other measures of a source) comes with a share
of that score. `choose` decides; what had to stay out is listed with the call that gives it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from pydantic import JsonValue

from ktx.errors import ConfigError, LayerError, UsageError
from ktx.search.text import fold, query_terms
from ktx.semantic.source import Column, Measure, Source
from ktx.semantic.ways import ways_between
from ktx.serve.answers import (
    ContextPack,
    LeftOut,
    PackColumn,
    PackJoin,
    PackMeasure,
    PackRule,
    PackSegment,
    PackSource,
    PackValue,
)
from ktx.serve.choose import Key, Piece, choose, letters
from ktx.serve.desk import Desk
from ktx.serve.fit import CHARS_PER_TOKEN
from ktx.serve.found import FADE, Found, find, place_scores
from ktx.wiki.page import Page
from ktx.wiki.sections import split_blocks
from ktx.wiki.store import load_page

DEFAULT_TOKENS = 4_000
LEAST_TOKENS = 200
MOST_TOKENS = 25_000
_JOINED = 8
_LEFT_OUT_SHARE = 0.12
_FOR_MENTIONED = 0.5
"""What a page about a source that was found counts, or a source in which two that were found meet, as a share of those."""
_LEAST_SCORE = 0.04
_MOST_LETTERS = 600
_MOST_PAGE_LETTERS = 8_000


def context_pack(
    desk: Desk, question: str, *, tokens: int = DEFAULT_TOKENS, connection_id: str | None = None
) -> ContextPack:
    """Give the best set of what the project knows about a question that fits into so many tokens.

    Raises:
        UsageError: the budget is out of range, or the connection is unknown.
    """
    if not LEAST_TOKENS <= tokens <= MOST_TOKENS:
        message = f"A budget of {tokens} tokens is out of range."
        raise UsageError(message, hint=f"Choose one from {LEAST_TOKENS} to {MOST_TOKENS}.")
    chosen = desk.known_connection(connection_id)
    found = find(desk, question, chosen)
    heap = _Heap(terms=query_terms(question))
    pages = _add_pages(desk, heap, found)
    sources = _add_layer(desk, heap, found, pages)
    _add_values(heap, found, sources)
    _add_joins(desk, heap, sources)
    empty = ContextPack(
        tokens=MOST_TOKENS, token_budget=tokens, rules=[], sources=[], joins=[], values=[], left_out=[],
        left_out_count=10**6,
    )  # fmt: skip
    room = tokens * CHARS_PER_TOKEN - letters(empty.plain())
    forms = choose(heap.pieces, room - int(room * _LEFT_OUT_SHARE), fill=heap.weak)
    pack = _assembled(heap, forms, tokens)
    left = _left_out(question, heap, forms, found)
    room -= sum(letters(form) for form in forms.values())
    shown: list[LeftOut] = []
    for one in left:
        size = letters(one.plain())
        if size <= room:
            shown.append(one)
            room -= size
    pack = pack.model_copy(update={"left_out": shown, "left_out_count": len(left)})
    return pack.model_copy(update={"tokens": estimate_tokens(pack)})


def estimate_tokens(pack: ContextPack) -> int:
    """Estimate the tokens of a pack from its compact JSON.

    The number of tokens is itself part of it, and is taken as long as it can be.
    """
    plain = {**pack.plain(), "tokens": MOST_TOKENS}
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return -(-len(text) // CHARS_PER_TOKEN)


# ---- what is found


@dataclass(kw_only=True)
class _Heap:
    """The pieces, and what each stands for."""

    terms: tuple[str, ...]
    pieces: list[Piece] = field(default_factory=list[Piece])
    weak: list[Piece] = field(default_factory=list[Piece])

    def add(self, piece: Piece) -> None:
        """Keep a piece that says enough; of the others only that they are there."""
        (self.pieces if piece.score >= _LEAST_SCORE else self.weak).append(piece)


# ---- pages


def _add_pages(desk: Desk, heap: _Heap, found: Found) -> list[tuple[Page, float]]:
    """Add the pages, those that always hold before the others, and give them with their scores.

    A page that was not found by the question counts when it is about a source that was: half as much as the source.
    """
    scores = {hit.ref: score for hit, score in zip(found.pages, place_scores(found.pages), strict=True)}
    always = {hit.ref: 2.0 - at / 1000 for at, hit in enumerate(found.always)}
    mentions = {hit.ref for hit in found.mentions} - scores.keys() - always.keys()
    by_source: dict[tuple[str, str], float] = {}
    for hit, score in zip(found.parts, place_scores(found.parts), strict=True):
        by_source.setdefault((hit.connection_id or "", hit.source or ""), score)
    pages: list[tuple[Page, float]] = []
    for key, score in {**scores, **always, **dict.fromkeys(mentions, 0.0)}.items():
        try:
            page = load_page(desk.project.wiki_dir, key, user_id=desk.user_id)
        except LayerError:
            continue
        if key in mentions:
            about = [by_source.get((connection, name), 0.0) for connection, name, _ in _page_refs(desk, page)]
            score = _FOR_MENTIONED * max(about, default=0.0)
        heap.add(
            Piece(
                kind="rule",
                key=("rule", key),
                score=score,
                forms=_page_forms(page, heap.terms, is_always=key in always),
            )
        )
        pages.append((page, scores.get(key, 0.0)))
    return pages


def _page_forms(page: Page, terms: tuple[str, ...], *, is_always: bool) -> tuple[Mapping[str, object], ...]:
    """Give a page in full, by its best paragraphs, and by its summary alone."""
    blocks = split_blocks(page.body.strip("\n"))
    paragraphs = [block.text.strip("\n") for block in blocks]
    stems = [term.replace(" ", "")[:5] for term in terms]
    ranked = sorted(
        (at for at, block in enumerate(blocks) if not block.level),
        key=lambda at: (-sum(stem in fold(paragraphs[at]) for stem in stems), at),
    )
    texts: list[str] = []
    whole = page.body.strip("\n")
    if len(whole) <= _MOST_PAGE_LETTERS:
        texts.append(whole)
    texts += [
        "\n\n".join(paragraphs[at] for at in sorted(ranked[:count]))
        for count in (8, 4, 2, 1)
        if len(ranked) >= count
    ]
    texts.append("")
    rules = [
        PackRule(
            key=page.key,
            summary=_clipped(page.summary),
            is_always=is_always or None,
            stale_since=page.stale_since.isoformat() if page.stale_since else None,
            excerpt=text or None,
            is_whole=text == whole,
        )
        for text in dict.fromkeys(texts)
    ]
    return tuple(rule.plain() for rule in rules)


# ---- the layer


def _add_layer(
    desk: Desk, heap: _Heap, found: Found, pages: Sequence[tuple[Page, float]]
) -> dict[tuple[str, str], tuple[Source, float]]:
    """Add the sources found, with what was found in them and what goes with it; give them with their scores."""
    parts: dict[tuple[str, str], dict[str, float]] = {}

    def note(connection: str | None, source: str | None, name: str, score: float) -> None:
        if connection is not None and source is not None:
            named = parts.setdefault((connection, source), {})
            named[name] = max(named.get(name, 0.0), score)

    for hit, score in zip(found.parts, place_scores(found.parts), strict=True):
        name = hit.ref.rpartition(".")[2] if hit.kind != "source" else ""
        note(hit.connection_id, hit.source, name, score)
    for value in found.values:
        note(value.connection_id, value.source, value.column, 0.9 if value.is_whole else 0.4)
    for page, score in pages:
        for connection, source, name in _page_refs(desk, page):
            note(connection, source, name, 0.8 * score)
    sources: dict[tuple[str, str], tuple[Source, float]] = {}
    for (connection, name), scores in parts.items():
        source = desk.layer(connection).sources.get(name) if connection in desk.project.warehouses else None
        if source is None:
            continue
        best = max(scores.get("", 0.0), 0.9 * max(scores.values()))
        sources[connection, name] = (source, best)
        _add_source(heap, connection, source, scores, best)
    for (connection, name), best in _meetings(sources).items():
        source = desk.layer(connection).sources.get(name)
        if source is not None:
            sources[connection, name] = (source, best)
            _add_source(heap, connection, source, {}, best)
    return sources


def _meetings(sources: Mapping[tuple[str, str], tuple[Source, float]]) -> dict[tuple[str, str], float]:
    """Name the sources not found in which two of the best ones found meet, each being many to one of it."""
    ranked = sorted(sources.items(), key=lambda one: (-one[1][1], one[0]))[:_JOINED]
    ends: dict[tuple[str, str], list[float]] = {}
    for (connection, _), (source, score) in ranked:
        targets = {join.to for join in source.joins if join.relationship == "many_to_one"}
        for target in targets:
            if (connection, target) not in sources:
                ends.setdefault((connection, target), []).append(score)
    return {
        key: _FOR_MENTIONED * sorted(scores)[-2] for key, scores in sorted(ends.items()) if len(scores) > 1
    }


def _page_refs(desk: Desk, page: Page) -> Iterable[tuple[str, str, str]]:
    """Give what a page says it is about as connection, source, part."""
    for ref in page.sl_refs:
        prefix, slash, rest = ref.rpartition("/")
        source, _, name = rest.partition(".")
        connections = [prefix] if slash else list(page.connections) or sorted(desk.project.warehouses)
        for connection in connections:
            if connection in desk.project.warehouses and source in desk.layer(connection).sources:
                yield connection, source, name


def _add_source(
    heap: _Heap, connection: str, source: Source, scores: Mapping[str, float], best: float
) -> None:
    key: Key = ("source", connection, source.name)
    shell = PackSource(
        connection_id=connection,
        name=source.name,
        table=source.table,
        description=_clipped(source.description) or None,
        grain=list(source.grain) if 0 < len(source.grain) <= len(source.columns) // 2 + 1 else None,
        measures=[],
        columns=[],
        segments=[] if source.segments else None,
    )
    heap.add(Piece(kind="source", key=key, score=best, forms=(shell.plain(),)))
    joins = " ".join(join.on for join in source.joins)
    for measure in source.measures:
        column = measure.name.partition("_")[2] if measure.is_implicit else ""
        score = scores.get(measure.name, 0.0)
        score = max(score, 0.5 * scores.get(column, 0.0) if measure.is_implicit else 0.25 * best)
        heap.add(
            Piece(
                kind="measure",
                key=("measure", *key[1:], measure.name),
                score=max(score, 0.04 * best),
                forms=(_measure(measure).plain(),),
                needs=(key,),
            )
        )
    for one in source.columns:
        if one.visibility != "public":
            continue
        is_key = one.name in source.grain or one.is_time or f".{one.name}" in joins
        score = max(scores.get(one.name, 0.0), (0.3 if is_key else 0.1) * best)
        heap.add(
            Piece(
                kind="column",
                key=("column", *key[1:], one.name),
                score=score,
                forms=(_column(one).plain(),),
                needs=(key,),
            )
        )
    for segment in source.segments:
        told = PackSegment(
            name=segment.name, expr=segment.expr, description=_clipped(segment.description) or None
        )
        heap.add(
            Piece(
                kind="segment",
                key=("segment", *key[1:], segment.name),
                score=max(scores.get(segment.name, 0.0), 0.25 * best),
                forms=(told.plain(),),
                needs=(key,),
            )
        )


def _measure(measure: Measure) -> PackMeasure:
    return PackMeasure(
        name=measure.name,
        expr=measure.expr,
        filter=measure.filter,
        segments=list(measure.segments) or None,
        description=_clipped(measure.description) or None,
    )


def _column(column: Column) -> PackColumn:
    texts = column.descriptions
    ordered = [texts.get(one) for one in ("user", "dbt", "ai", "db")] + list(texts.values())
    description = next((text for text in ordered if text), None)
    return PackColumn(
        name=column.name, type=column.kind, description=_clipped(description) or None, expr=column.expr
    )


def _add_values(heap: _Heap, found: Found, sources: Mapping[tuple[str, str], tuple[Source, float]]) -> None:
    for at, one in enumerate(found.values):
        source = sources.get((one.connection_id, one.source))
        if source is None:
            continue
        told = PackValue(
            connection_id=one.connection_id, source=one.source, column=one.column, value=one.value
        )
        heap.add(
            Piece(
                kind="value",
                key=("value", one.connection_id, one.source, one.column, one.value),
                score=(0.9 if one.is_whole else 0.4) / (1 + FADE * at),
                forms=(told.plain(),),
            )
        )


def _add_joins(desk: Desk, heap: _Heap, sources: Mapping[tuple[str, str], tuple[Source, float]]) -> None:
    """Add the ways between the sources that matter most; a warehouse that cannot be opened at all has none to tell."""
    by_connection: dict[str, list[tuple[float, str]]] = {}
    for (connection, name), (_, score) in sources.items():
        by_connection.setdefault(connection, []).append((-score, name))
    for connection, ranked in sorted(by_connection.items()):
        names = [name for _, name in sorted(ranked)[:_JOINED]]
        try:
            ways = ways_between(desk.layer(connection), names, dialect=desk.dialect(connection))
        except (ConfigError, UsageError):
            continue
        for way in ways:
            ends = [sources[connection, name][1] for name in (way.origin, way.target)]
            # A way is needed from what is measured; one between two tables of dimensions mostly repeats a part of it.
            has_measures = any(not one.is_implicit for one in sources[connection, way.origin][0].measures)
            told = PackJoin(
                connection_id=connection,
                origin=way.origin,
                target=way.target,
                shape=way.shape,
                steps=list(way.steps) or None,
                problem=way.problem,
            )
            heap.add(
                Piece(
                    kind="join",
                    key=("join", connection, way.origin, way.target),
                    score=(0.8 if has_measures else 0.3) * min(ends),
                    forms=(told.plain(),),
                    needs=tuple(("source", connection, name) for name in (way.origin, way.target)),
                )
            )


# ---- putting together


def _assembled(heap: _Heap, forms: Mapping[Key, Mapping[str, object]], tokens: int) -> ContextPack:
    """Put the chosen pieces in their places: best first, parts in the order of their source."""
    ranked = [piece for piece in (*heap.pieces, *heap.weak) if piece.key in forms]
    by_score = sorted(ranked, key=lambda piece: (-piece.score, piece.key))

    def inside(kind: str, source: Key) -> list[dict[str, object]]:
        return [
            dict(forms[piece.key]) for piece in ranked if piece.kind == kind and piece.key[1:3] == source[1:3]
        ]

    sources: list[PackSource] = []
    for piece in by_score:
        if piece.kind == "source":
            whole = {
                **forms[piece.key],
                "measures": inside("measure", piece.key),
                "columns": inside("column", piece.key),
            }
            if "segments" in whole:
                whole["segments"] = inside("segment", piece.key)
            sources.append(PackSource.model_validate(whole))
    return ContextPack(
        tokens=0,
        token_budget=tokens,
        rules=[PackRule.model_validate(forms[one.key]) for one in by_score if one.kind == "rule"],
        sources=sources,
        joins=[PackJoin.model_validate(forms[one.key]) for one in by_score if one.kind == "join"],
        values=[PackValue.model_validate(forms[one.key]) for one in by_score if one.kind == "value"],
        left_out=[],
        left_out_count=0,
    )


def _left_out(
    question: str, heap: _Heap, forms: Mapping[Key, Mapping[str, object]], found: Found
) -> list[LeftOut]:
    """List what was found and does not stand there, the most relevant first, each with the call that gives it."""
    listed: list[tuple[float, LeftOut]] = []
    parts: dict[Key, dict[str, int]] = {}
    for piece in (*heap.pieces, *heap.weak):
        form = forms.get(piece.key)
        if piece.kind == "rule" and (form is None or form.get("isWhole") is False):
            what = f"the page `{piece.key[1]}`" if form is None else f"the rest of the page `{piece.key[1]}`"
            listed.append(
                (piece.score, LeftOut(what=what, tool="wiki_read", arguments={"key": piece.key[1]}))
            )
        elif form is None and piece.kind in ("source", "measure", "column", "segment"):
            counts = parts.setdefault(piece.key[1:3], {})
            counts[piece.kind] = counts.get(piece.kind, 0) + 1
    scores = {piece.key[1:3]: piece.score for piece in heap.pieces if piece.kind == "source"}
    for (connection, name), counts in parts.items():
        inside = [
            f"{number} {kind}{'s' if number > 1 else ''}"
            for kind, number in counts.items()
            if kind != "source"
        ]
        what = f"the source `{name}`" if "source" in counts else f"{' and '.join(inside)} of `{name}`"
        call = LeftOut(
            what=what, tool="sl_read_source", arguments={"connectionId": connection, "sourceName": name}
        )
        listed.append((scores.get((connection, name), 0.0), call))
    listed.sort(key=lambda one: (-one[0], one[1].what))
    left = [call for _, call in listed]
    missed = [piece.key[4] for piece in heap.pieces if piece.kind == "value" and piece.key not in forms]
    if missed:
        asked = cast("list[JsonValue]", list(dict.fromkeys(missed))[:5])
        left.append(
            LeftOut(
                what=f"{len(missed)} stored values", tool="dictionary_search", arguments={"values": asked}
            )
        )
    more = found.total - len(found.pages) - len(found.parts)
    if more > 0:
        call = LeftOut(
            what=f"{more} weaker search results",
            tool="discover_data",
            arguments={"query": question[:200], "limit": 50},
        )
        left.append(call)
    return left


def _clipped(text: str | None) -> str:
    """Cut a long text at the end of a sentence, or of a word."""
    text = " ".join((text or "").split())
    if len(text) <= _MOST_LETTERS:
        return text
    cut = text[: _MOST_LETTERS - 2]
    end = max(cut.rfind(". "), cut.rfind("! "), cut.rfind("? "))
    return f"{cut[: end + 1]} …" if end > _MOST_LETTERS // 3 else f"{cut.rpartition(' ')[0] or cut} …"
