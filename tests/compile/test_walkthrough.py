"""The page that walks one question through the compiler shows what the compiler really says."""

import json
from pathlib import Path

from compile.cases import HERE, build_layer, compiled, read_yaml
from ktx.semantic.plan import render_plan

PAGE = HERE.parents[1] / "docs" / "concepts" / "how-a-question-becomes-sql.md"


def test_the_page_holds_the_plan_and_the_sql_of_its_question(tmp_path: Path) -> None:
    text = PAGE.read_text()
    ask = question_of(text)
    made = compiled(build_layer(read_yaml(HERE / "worlds" / "shop.yaml")["layer"], tmp_path), ask, "duckdb")
    assert render_plan(made.plan).rstrip() in text
    assert made.sql in text


def question_of(text: str):
    return json.loads(text.split("```json\n")[1].split("```")[0])
