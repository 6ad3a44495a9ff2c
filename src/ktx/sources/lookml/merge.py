"""How one LookML object builds on another: `extends`, and refinements (`+name`)."""

from collections.abc import Callable, Mapping
from typing import cast

from ktx.sources.lookml.parse import Block, text_of, texts_of

_WHOLE = ("sql", "explore_source", "sql_create", "create_process")
_OWN = ("extends", "extends__all", "extension", "name")


def merged(base: Block, over: Block) -> Block:
    """Give `base` with what `over` says on top: objects of one name merge parameter by parameter, the rest is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        inner, outer = _as_block(old), _as_block(value)
        if key == "derived_table" and outer is not None and any(each in outer for each in _WHOLE):
            result[key] = value
        elif key == "extends__all" and old is not None:
            result[key] = [*cast("list[object]", old), *cast("list[object]", value)]
        elif _is_named(value) and _is_named(old):
            result[key] = _merged_lists(cast("list[Block]", old), cast("list[Block]", value))
        elif inner is not None and outer is not None:
            result[key] = merged(inner, outer)
        else:
            result[key] = value
    # A view has one origin: what was said last counts.
    if "sql_table_name" in over and "derived_table" not in over:
        result.pop("derived_table", None)
    if "derived_table" in over and "sql_table_name" not in over:
        result.pop("sql_table_name", None)
    return result


def extended(name: str, blocks: Mapping[str, Block], *, report: Callable[[str], None]) -> Block:
    """Give an object with everything that it extends, parents first and its own words last.

    `report` hears of parents that do not exist, and of circles.
    """
    return _extended(name, blocks, report, ())


def ancestors(name: str, blocks: Mapping[str, Block]) -> tuple[str, ...]:
    """Give the names of everything that an object extends, directly or not, sorted."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = blocks.get(waiting.pop())
        for parent in texts_of(current, "extends") if current is not None else ():
            if parent not in seen and parent != name:
                seen.add(parent)
                waiting.append(parent)
    return tuple(sorted(seen))


def _extended(
    name: str, blocks: Mapping[str, Block], report: Callable[[str], None], path: tuple[str, ...]
) -> Block:
    own = blocks[name]
    result: Block = {}
    for parent in texts_of(own, "extends"):
        if parent in (*path, name):
            report(f"extends itself by way of `{parent}`")
        elif parent not in blocks:
            report(f"extends `{parent}`, which none of the included files defines")
        else:
            found = _extended(parent, blocks, report, (*path, name))
            result = merged(result, {key: value for key, value in found.items() if key not in _OWN})
    return merged(result, own)


def _as_block(value: object) -> Block | None:
    return cast(Block, value) if isinstance(value, dict) else None


def _is_named(value: object) -> bool:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return bool(items) and all(isinstance(each, dict) and "name" in each for each in items)


def _merged_lists(old: list[Block], new: list[Block]) -> list[Block]:
    by_name = {text_of(each, "name"): each for each in old}
    for each in new:
        name = text_of(each, "name")
        by_name[name] = merged(by_name[name], each) if name in by_name else each
    return list(by_name.values())
