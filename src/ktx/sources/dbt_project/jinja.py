"""The Jinja of a dbt project that has one meaning without running dbt: literal `ref`, `source`, `doc`, `var` and `config`.

Nothing is executed. Arguments are read as literals; a call with anything else in it is left as it stands.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from ktx.sources.dbt_project.plain import as_text

_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_SPOT = re.compile(r"\{\{-?(?P<inner>.*?)-?\}\}", re.DOTALL)
_CALL = re.compile(r"\b(?P<name>ref|source)\s*\((?P<inner>[^()]*)\)")
_CONFIG = re.compile(r"\{\{-?\s*(?P<inner>config\s*\(.*?\))\s*-?\}\}", re.DOTALL)
_DOCS = re.compile(
    r"\{%-?\s*docs\s+(?P<name>[A-Za-z_]\w*)\s*-?%\}(?P<text>.*?)\{%-?\s*enddocs\s*-?%\}", re.DOTALL
)
_SNAPSHOT = re.compile(
    r"\{%-?\s*snapshot\s+(?P<name>[A-Za-z_]\w*)\s*-?%\}(?P<text>.*?)\{%-?\s*endsnapshot\s*-?%\}", re.DOTALL
)
_MAX_CODE: Final = 20_000
_CONSTANTS: Final[Mapping[str, object]] = {"true": True, "false": False, "none": None, "null": None}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call with literal arguments only; `steps` are the literal method calls behind it, as `.grain('day')`."""

    name: str
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object]
    steps: tuple[tuple[str, tuple[object, ...]], ...] = ()


def without_comments(text: str) -> str:
    """Give the text without Jinja comments."""
    return _COMMENT.sub("", text)


def has_jinja(text: str) -> bool:
    """Tell whether something is templated."""
    return "{{" in text or "{%" in text


def spots(text: str) -> Iterator[tuple[str, str]]:
    """Give each `{{ … }}` of a text: as written, and what is inside."""
    for found in _SPOT.finditer(text):
        yield found.group(0), found.group("inner").strip()


def read_call(text: str) -> Call | None:
    """Read one call with literal arguments, None for anything else.

    >>> read_call("TimeDimension('order__ordered_at', 'day').grain('month')").steps
    (('grain', ('month',)),)
    """
    tree = _parsed(text)
    steps: list[tuple[str, tuple[object, ...]]] = []
    while isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute):
        args = _literals(tree.args)
        if args is None or tree.keywords:
            return None
        steps.append((tree.func.attr, args))
        tree = tree.func.value
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        return None
    args = _literals(tree.args)
    values = _literals([one.value for one in tree.keywords])
    if args is None or values is None or any(one.arg is None for one in tree.keywords):
        return None
    kwargs = {str(one.arg): value for one, value in zip(tree.keywords, values, strict=True)}
    return Call(name=tree.func.id, args=args, kwargs=kwargs, steps=tuple(reversed(steps)))


def calls(text: str) -> tuple[Call, ...]:
    """Give the literal `ref` and `source` calls inside the templated parts of a text, in order."""
    found: list[Call] = []
    for one in _CALL.finditer(without_comments(text)):
        call = read_call(f"{one.group('name')}({one.group('inner')})")
        if call is not None and call.args:
            found.append(call)
    return tuple(found)


def read_config(sql: str) -> dict[str, object]:
    """Give the literal settings of all `{{ config(…) }}` of a file; the others are left out."""
    settings: dict[str, object] = {}
    for one in _CONFIG.finditer(without_comments(sql)):
        tree = _parsed(one.group("inner"))
        if not isinstance(tree, ast.Call):
            continue
        for keyword in tree.keywords:
            value = _literals([keyword.value])
            if keyword.arg is not None and value is not None:
                settings[keyword.arg] = value[0]
    return settings


def docs_blocks(markdown: str) -> tuple[tuple[str, str], ...]:
    """Give the `{% docs name %}` blocks of a file, in order."""
    return tuple((one.group("name"), one.group("text").strip()) for one in _DOCS.finditer(markdown))


def snapshot_blocks(sql: str) -> tuple[tuple[str, str], ...]:
    """Give the `{% snapshot name %}` blocks of a file, in order."""
    text = without_comments(sql)
    return tuple((one.group("name"), one.group("text").strip()) for one in _SNAPSHOT.finditer(text))


def render_docs(text: str, blocks: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Put docs blocks into a description; also gives the names of those it used. Unknown ones are left as they stand."""
    used: list[str] = []

    def block(found: re.Match[str]) -> str:
        call = read_call(found.group("inner").strip())
        name = as_text(call.args[-1]) if call is not None and call.name == "doc" and call.args else ""
        if name not in blocks:
            return found.group(0)
        used.append(name)
        return blocks[name]

    return _SPOT.sub(block, text), tuple(used)


def render_static(text: str, variables: Mapping[str, object]) -> str | None:
    """Render text whose only templates are `var` with a known value or a default, and literals; None for any other."""
    is_static = True

    def value(found: re.Match[str]) -> str:
        nonlocal is_static
        made = _static_value(found.group("inner").strip(), variables)
        is_static = is_static and made is not None
        return made or ""

    result = _SPOT.sub(value, without_comments(text))
    return result if is_static and not has_jinja(result) else None


def _static_value(text: str, variables: Mapping[str, object]) -> str | None:
    call = read_call(text)
    if call is None:
        literal = _literals([tree]) if (tree := _parsed(text)) is not None else None
        return as_text(literal[0]) if literal is not None and isinstance(literal[0], str | int) else None
    if call.name != "var" or call.steps or not call.args:
        return None
    name = as_text(call.args[0])
    if name in variables:
        return as_text(variables[name])
    default = call.args[1] if len(call.args) > 1 else call.kwargs.get("default")
    return as_text(default) if isinstance(default, str | int | float) else None


def _parsed(text: str) -> ast.expr | None:
    if len(text) > _MAX_CODE:
        return None
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _literals(trees: list[ast.expr]) -> tuple[object, ...] | None:
    found: list[object] = []
    for tree in trees:
        if isinstance(tree, ast.Name) and tree.id in _CONSTANTS:
            found.append(_CONSTANTS[tree.id])
            continue
        try:
            found.append(cast("object", ast.literal_eval(tree)))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return None
    return tuple(found)
