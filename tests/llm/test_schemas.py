"""Every schema that ktx shows to a model keeps to what all providers enforce."""

import importlib
import pkgutil
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

import ktx
from ktx.llm.schema import Answer, ToolInput, answer_schema, check_answer, check_tool


def owned(base: type[BaseModel]) -> list[type[BaseModel]]:
    """Import all of ktx and give every class of its own that descends from `base`."""
    for module in pkgutil.walk_packages(ktx.__path__, "ktx."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, todo = [], [base]
    while todo:
        for child in todo.pop().__subclasses__():
            todo.append(child)
            if child.__module__.startswith("ktx."):
                found.append(child)
    return sorted(set(found), key=lambda model: (model.__module__, model.__name__))


def test_every_answer_that_ktx_asks_for_is_taken_by_every_backend():
    answers = owned(Answer)
    assert answers
    assert {model.__name__: check_answer(model) for model in answers if check_answer(model)} == {}


def test_every_tool_that_ktx_offers_is_taken_by_every_backend():
    tools = owned(ToolInput)
    assert tools
    assert {model.__name__: check_tool(model) for model in tools if check_tool(model)} == {}


class Part(BaseModel):
    name: str = Field(min_length=2, max_length=9, description="Its name")
    kind: Literal["a", "b"] = "a"


class Whole(Answer):
    parts: list[Part]
    best: Part | None = None
    share: float = Field(default=0.5, ge=0, le=1)


def test_objects_are_closed_everything_is_required_and_limits_are_said_in_words():
    schema = answer_schema(Whole)
    assert schema["required"] == ["parts", "best", "share"]
    assert schema["additionalProperties"] is False
    part = schema["$defs"]["Part"]
    assert part["required"] == ["name", "kind"]
    assert part["properties"]["name"] == {
        "type": "string",
        "description": "Its name (at least 2 characters; at most 9 characters)",
    }
    assert "title" not in str(schema)
    assert "minLength" not in str(schema)


class Free(BaseModel):
    anything: Any


class Bag(BaseModel):
    values: dict[str, int]


class Pair(BaseModel):
    both: tuple[int, str]


class Open(BaseModel):
    model_config = {"extra": "allow"}
    name: str


class Tree(BaseModel):
    children: list["Tree"]


@pytest.mark.parametrize(
    ("model", "word"),
    [(Free, "Any"), (Bag, "dictionary"), (Pair, "tuple"), (Open, "unknown fields"), (Tree, "itself")],
)
def test_what_a_backend_would_bend_is_found(model, word):
    assert word in check_answer(model)[0]
