"""Answers within a bound of tokens: cut on meaning, and never silently.

Rows, results and list items go from the end, pages at the border of a block, and whole extras before rows. What was left out, and
how to get it, stands in the answer under `cut`. A token is counted as four characters of the answer's JSON, which is what models
make of English and of JSON within some tens of percent; the bound is for an agent's context, not for billing.
"""

import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from ktx.wiki.sections import split_blocks

DEFAULT_MAX_TOKENS = 4_000
LEAST_MAX_TOKENS = 500
MOST_MAX_TOKENS = 25_000
CHARS_PER_TOKEN = 4

_FOR_SENTENCES = 0.15
"""The share of the bound that is kept for saying what was left out."""
_TEXT_LENGTHS = (2_000, 500, 120)
_MOST_NAMED = 12
_LONGEST_NAME = 60
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
Plain: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A part of an answer that may be cut: where it is (`*` stands for each item), and how to get what was left out.

    `keep` is how many items stay at least; what is asked for again with a lower `keep` goes on where this one stopped.
    """

    path: str
    how: str
    shape: Literal["items", "markdown", "yaml", "whole"] = "items"
    keep: int = 1


def chars(max_tokens: int) -> int:
    """Give the bound in characters."""
    return max_tokens * CHARS_PER_TOKEN


def fit(plain: Plain, cuts: Sequence[Cut], *, max_chars: int) -> tuple[Plain, str]:
    """Give an answer and its JSON text, of at most `max_chars` characters. `plain` may be changed.

    The cuts are made in their order until the answer fits. Should that not do, long texts are shortened and then lists, all with
    a sentence in `cut`.
    """
    text = _dump(plain)
    if len(text) <= max_chars:
        return _clean(plain, text)
    bound = int(max_chars * (1 - _FOR_SENTENCES))
    said: dict[str, str] = {}
    counts: dict[str, int] = {}
    for cut in cuts:
        over = len(_dump(plain)) - bound
        if over > 0:
            sentence = _APPLY[cut.shape](plain, cut, over, counts)
            if sentence:
                said[cut.path] = f"{sentence}; {cut.how}."
    _shorten(plain, said, bound)
    plain["cut"] = _bounded(list(said.values()), max_chars - len(_dump(plain)) - len(',"cut":[]'))
    return _clean(plain, _dump(plain))


def _cut_items(plain: Plain, cut: Cut, over: int, counts: dict[str, int]) -> str:
    """Drop items from the end of the lists at a path, from the largest list first."""
    lists = list(_lists(plain, cut.path.split(".")))
    sizes = [[len(_dump(item)) + 1 for item in items] for _, items in lists]
    left = [(-sum(size), at) for at, size in enumerate(sizes)]
    heapq.heapify(left)
    before = [counts.setdefault(f"{cut.path}/{at}", len(items)) for at, (_, items) in enumerate(lists)]
    while over > 0 and left:
        total, at = heapq.heappop(left)
        items = lists[at][1]
        if len(items) <= cut.keep:
            continue
        items.pop()
        size = sizes[at].pop()
        over -= size
        heapq.heappush(left, (total + size, at))
    name = cut.path.rpartition(".")[2]
    shorter = [
        (label, len(items), count)
        for (label, items), count in zip(lists, before, strict=True)
        if len(items) < count
    ]
    if not shorter:
        return ""
    if "*" not in cut.path:
        return f"`{name}` holds the first {shorter[0][1]} of {shorter[0][2]}"
    shown = ", ".join(f"{kept} of {count} for `{label}`" for label, kept, count in shorter[:_MOST_NAMED])
    more = f" and for {len(shorter) - _MOST_NAMED} more" if len(shorter) > _MOST_NAMED else ""
    return f"`{name}` holds the first {shown}{more}"


def _cut_markdown(plain: Plain, cut: Cut, over: int, counts: dict[str, int]) -> str:
    del counts
    text = str(plain.get(cut.path, ""))
    blocks = split_blocks(text)
    kept, size = 0, len(_dump(text))
    while (
        kept < len(blocks) and len(_dump("".join(block.text for block in blocks[: kept + 1]))) <= size - over
    ):
        kept += 1
    while kept and blocks[kept - 1].level:
        kept -= 1
    if not kept:
        return ""
    plain[cut.path] = "".join(block.text for block in blocks[:kept]).rstrip()
    titles = [block.title[:_LONGEST_NAME] for block in blocks[kept:] if block.level]
    said = f"`{cut.path}` holds the first {len(plain[cut.path]):,} of {len(text):,} characters"
    if not titles:
        return said
    more = f" and {len(titles) - _MOST_NAMED} more" if len(titles) > _MOST_NAMED else ""
    return f"{said}, without the sections {', '.join(f'`{title}`' for title in titles[:_MOST_NAMED])}{more}"


def _cut_yaml(plain: Plain, cut: Cut, over: int, counts: dict[str, int]) -> str:
    """Drop items from the end of the top-level lists of a YAML text, from the longest list first."""
    del counts
    parts: list[tuple[str, list[str]]] = []
    for line in str(plain.get(cut.path, "")).splitlines(keepends=True):
        if not line.startswith(" "):
            parts.append((line, []))
        elif line.startswith("  - ") or not parts[-1][1]:
            parts[-1][1].append(line)
        else:
            parts[-1][1][-1] += line
    before = [len(items) for _, items in parts]
    while over > 0 and parts:
        items = max((items for _, items in parts), key=lambda items: sum(map(len, items)))
        if len(items) <= cut.keep:
            break
        over -= len(_dump(items.pop())) - 2
    dropped = [
        f"{len(items)} of {count} {head.strip().rstrip(':')}"
        for (head, items), count in zip(parts, before, strict=True)
        if len(items) < count
    ]
    if not dropped:
        return ""
    plain[cut.path] = "".join(head + "".join(items) for head, items in parts)
    return f"`{cut.path}` holds the first {', '.join(dropped)}"


def _cut_whole(plain: Plain, cut: Cut, over: int, counts: dict[str, int]) -> str:
    del over, counts
    gone = plain.pop(cut.path, None)
    return "" if gone is None else f"`{cut.path}` is left out ({len(_dump(gone)):,} characters)"


_APPLY = {"items": _cut_items, "markdown": _cut_markdown, "yaml": _cut_yaml, "whole": _cut_whole}


def _lists(value: object, path: Sequence[str], label: str = "") -> list[tuple[str, list[Any]]]:
    """Give the lists at a path, each with a name for it."""
    if not path:
        return [(label, cast("list[Any]", value))] if isinstance(value, list) else []
    if path[0] == "*":
        found: list[tuple[str, list[Any]]] = []
        for at, item in enumerate(cast("list[object]", value) if isinstance(value, list) else []):
            found += _lists(item, path[1:], _name(item) or str(at + 1))
        return found
    inner = cast("Plain", value).get(path[0]) if isinstance(value, dict) else None
    return _lists(inner, path[1:], label)


def _name(item: object) -> str:
    parts = cast("Plain", item) if isinstance(item, dict) else {}
    return str(next((parts[key] for key in ("display", "value", "name", "id", "key") if key in parts), ""))[
        :_LONGEST_NAME
    ]


def _shorten(plain: Plain, said: dict[str, str], bound: int) -> None:
    """Shorten texts, and then lists, until the answer fits; for answers whose single parts are too long."""
    for length in _TEXT_LENGTHS:
        if len(_dump(plain)) <= bound:
            return
        if _shortened(plain, length) is not plain:
            said["texts"] = f"Texts longer than {length:,} characters are shortened, marked with `…`."
            plain.update(cast("Plain", _shortened(plain, length)))
    while len(_dump(plain)) > bound:
        filled = [items for items in _all_lists(plain) if items]
        if not filled:
            plain.clear()
            said["all"] = "The answer is too long to be given at all; ask for less."
            return
        biggest = max(filled, key=lambda items: len(_dump(items)))
        del biggest[len(biggest) // 2 :]
        said["lists"] = "Long lists are cut; ask for less at once."


def _shortened(value: object, length: int) -> object:
    """Give a value whose texts are at most about `length` long; the value itself when they are."""
    match value:
        case str():
            return value if len(value) <= length else f"{value[: length - 1].rstrip()}…"
        case list():
            items = cast("list[object]", value)
            short = [_shortened(item, length) for item in items]
            return short if any(new is not old for new, old in zip(short, items, strict=True)) else items
        case dict():
            parts = cast("Plain", value)
            changed = {key: _shortened(item, length) for key, item in parts.items()}
            return changed if any(changed[key] is not parts[key] for key in parts) else parts
        case _:
            return value


def _all_lists(value: object) -> list[list[Any]]:
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [items, *(found for item in items for found in _all_lists(item))]
    if isinstance(value, dict):
        return [found for item in cast("Plain", value).values() for found in _all_lists(item)]
    return []


def _bounded(sentences: list[str], room: int) -> list[str]:
    """Give the sentences that there is room for, the last one shortened."""
    kept: list[str] = []
    for sentence in sentences:
        room -= len(_dump(sentence)) + 1
        if room < 0:
            break
        kept.append(sentence)
    return kept or ["The answer is cut; ask for less at once."]


def _clean(plain: Plain, text: str) -> tuple[Plain, str]:
    """Replace half letters, which no wire can carry, in both forms alike."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode("utf-8")
        return cast("Plain", json.loads(text)), text
    return plain, text


def _dump(value: object) -> str:
    return _compact(value)
