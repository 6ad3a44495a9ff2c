"""JSON Schemas that every backend takes as they are.

Providers accept different subsets of JSON Schema and some quietly bend what they do not know: a free dictionary becomes an
object that can only be empty, `Any` is an error, a length limit is dropped. So ktx keeps to the part that all of them share,
states the rest as words in the description, and refuses to send a schema outside of it.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, TypeAlias, cast

from pydantic import BaseModel, ConfigDict

Schema: TypeAlias = dict[str, object]

_SAID_IN_WORDS: Final = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "matches the regular expression {}",
    "format": "in the format {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "uniqueItems": "no item twice",
    "default": "{} when nothing better is known",
}
_KEPT: Final = frozenset({"type", "enum", "const", "description"})


class Answer(BaseModel):
    """A structured answer of a model: closed, so that an invented field is an error and not a silent loss."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ToolInput(BaseModel):
    """The input of a tool: closed, so that a misspelt argument is told to the model and not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@cache
def answer_schema(model: type[BaseModel]) -> Schema:
    """Give the schema for a structured answer in the shape that every backend enforces.

    Objects are closed and all their properties required (an optional one is nullable), `$ref` stands alone, unions are
    `anyOf`, and limits that no provider enforces are said in the description; pydantic still checks them on the answer.

    Raises:
        ValueError: `check_answer` finds a problem.
    """
    problems = check_answer(model)
    if problems:
        raise ValueError(f"`{model.__name__}` cannot be asked of a model: {'; '.join(problems)}")
    return _normalised(_raw(model))


@cache
def tool_schema(model: type[BaseModel]) -> Schema:
    """Give the input schema of a tool: pydantic's own, without its generated titles.

    Raises:
        ValueError: `check_tool` finds a problem.
    """
    problems = check_tool(model)
    if problems:
        raise ValueError(f"`{model.__name__}` cannot be the input of a tool: {'; '.join(problems)}")
    return cast("Schema", _untitled(_raw(model)))


def check_answer(model: type[BaseModel]) -> tuple[str, ...]:
    """Say what in the schema some backend would bend or refuse; an empty tuple means nothing.

    >>> class Loose(BaseModel):
    ...     tags: dict[str, str]
    >>> check_answer(Loose)
    ('tags: a free dictionary; use a list of objects with a name field',)
    """
    schema = _raw(model)
    found = [*_problems(schema, ())]
    found += [f"{name}: refers to itself" for name in _recursive(schema)]
    return tuple(dict.fromkeys(found))


def check_tool(model: type[BaseModel]) -> tuple[str, ...]:
    """Say what in the schema of a tool's input some backend would bend or refuse."""
    return tuple(dict.fromkeys(_problems(_raw(model), ())))


def _raw(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(mode="validation")


def _children(node: Schema) -> Iterator[tuple[str, Schema]]:
    for key in ("properties", "$defs"):
        members = node.get(key)
        if isinstance(members, dict):
            for name, child in cast("dict[str, Schema]", members).items():
                yield name, child
    for key in ("anyOf", "oneOf", "allOf"):
        for child in cast("list[Schema]", node.get(key, [])):
            yield "", child
    if isinstance(node.get("items"), dict):
        yield "[]", cast("Schema", node["items"])


def _problems(node: Schema, path: tuple[str, ...]) -> Iterator[str]:
    where = ".".join(path) or "the schema"
    shaped = {"type", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"} & node.keys()
    if not shaped:
        yield f"{where}: anything is allowed (`Any`); name a type"
    if (
        node.get("type") == "object"
        and not node.get("properties")
        and node.get("additionalProperties") is not False
    ):
        yield f"{where}: a free dictionary; use a list of objects with a name field"
    elif isinstance(node.get("additionalProperties"), dict) or node.get("additionalProperties") is True:
        yield f"{where}: accepts unknown fields; use extra='forbid'"
    if "prefixItems" in node:
        yield f"{where}: a tuple; use an object or a list of one type"
    elif node.get("type") == "array" and not node.get("items"):
        yield f"{where}: a list of anything; name the item type"
    for name, child in _children(node):
        if name == "[]" and not child:
            continue
        yield from _problems(child, (*path, name) if name else path)


def _recursive(schema: Schema) -> tuple[str, ...]:
    defs = cast("dict[str, Schema]", schema.get("$defs", {}))
    edges = {name: set(_references(node)) for name, node in defs.items()}
    looping: list[str] = []
    for start in edges:
        seen: set[str] = set()
        todo = list(edges[start])
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo.extend(edges.get(name, ()))
        if start in seen:
            looping.append(start)
    return tuple(looping)


def _references(node: Schema) -> Iterator[str]:
    target = node.get("$ref")
    if isinstance(target, str):
        yield target.rsplit("/", 1)[-1]
    for _, child in _children(node):
        yield from _references(child)


def _normalised(node: Schema) -> Schema:
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    out: Schema = {key: value for key, value in node.items() if key in _KEPT}
    words = [_words(template, node[key]) for key, template in _SAID_IN_WORDS.items() if _is_said(key, node)]
    if words:
        said = f"({'; '.join(words)})"
        out["description"] = f"{out['description']} {said}" if "description" in out else said
    for key in ("anyOf", "oneOf"):
        if key in node:
            out["anyOf"] = [_normalised(child) for child in cast("list[Schema]", node[key])]
    if "allOf" in node:
        out["allOf"] = [_normalised(child) for child in cast("list[Schema]", node["allOf"])]
    if isinstance(node.get("items"), dict):
        out["items"] = _normalised(cast("Schema", node["items"]))
    if node.get("type") == "object":
        properties = cast("dict[str, Schema]", node.get("properties", {}))
        out["properties"] = {name: _normalised(child) for name, child in properties.items()}
        out["required"] = list(properties)
        out["additionalProperties"] = False
    if "$defs" in node:
        defs = cast("dict[str, Schema]", node["$defs"])
        out["$defs"] = {name: _normalised(child) for name, child in defs.items()}
    return out


def _is_said(key: str, node: Schema) -> bool:
    return key in node and node[key] is not None and node[key] is not False


def _words(template: str, value: object) -> str:
    return template.format(value)


def _untitled(node: object) -> object:
    if isinstance(node, Mapping):
        mapping = cast("Mapping[str, object]", node)
        out: Schema = {}
        for key, value in mapping.items():
            if key == "title" and isinstance(value, str):
                continue
            if key in ("properties", "$defs"):
                out[key] = {
                    name: _untitled(child) for name, child in cast("Mapping[str, object]", value).items()
                }
            else:
                out[key] = _untitled(value)
        return out
    if isinstance(node, list):
        return [_untitled(child) for child in cast("list[object]", node)]
    return node
