"""Text that would exhaust the stack or the memory of whoever reads it is refused, by every door that reads YAML."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ktx.errors import LayerError, UsageError
from ktx.ingest.artifact import page_artifact, source_artifact
from ktx.ingest.draft import as_data
from ktx.project import create_project
from ktx.semantic.load import load_layer
from ktx.semantic.manifest import parse_shard
from ktx.semantic.save import edit_source
from ktx.serve.query import parse_query_text
from ktx.sources.dbt_project.yaml11 import YamlError as DbtYamlError
from ktx.sources.dbt_project.yaml11 import parse_yaml as parse_dbt
from ktx.sources.markdown import parse_front_matter
from ktx.wiki.page import edit_page, parse_page
from ktx.yaml import MAX_DEPTH, YamlError, parse_yaml, parse_yaml_with_lines

DEEP = 60_000
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
HOSTILE = {
    "open brackets": "name: " + "[" * DEEP,
    "open braces": "name: " + "{a: " * DEEP,
    "closed brackets": "name: " + "[" * DEEP + "]" * DEEP,
    "dashes": "name:\n  " + "- " * DEEP + "x\n",
    "question marks": "name: " + "? " * DEEP,
    "steps": "\n".join(" " * n + "a:" for n in range(2_000)),
    "itself": "name: &m [*m]\n",
    "multiplied": BOMB,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_refused_and_no_door_falls(text: str) -> None:
    with pytest.raises(YamlError):
        parse_yaml(text)
    with pytest.raises(YamlError):
        parse_yaml_with_lines(text)
    page = f"---\nsummary: x\n{text}\n---\n\n# X\n"
    with pytest.raises(LayerError):
        parse_page(page, key="x", file="wiki/global/x.md")
    with pytest.raises(LayerError):
        edit_page(page, head={"tags": ["a"]})
    for artifact in (page_artifact("x"), source_artifact("shop", "x")):
        with pytest.raises(LayerError):
            as_data(text, artifact)
    with pytest.raises(LayerError):
        parse_shard(text, file="public.yaml")
    with pytest.raises(LayerError):
        edit_source(text, {"name": "x", "measures": [{"name": "n", "expr": "count(*)"}]})
    with pytest.raises(UsageError):
        parse_query_text(text)
    with pytest.raises(DbtYamlError):
        parse_dbt(text)
    with pytest.raises(UsageError):
        parse_front_matter(text)


def test_a_question_of_brackets_is_refused() -> None:
    with pytest.raises(UsageError, match="neither JSON nor YAML"):
        parse_query_text("[" * DEEP)


def test_a_hostile_file_breaks_its_own_source_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "semantic-layer" / "shop"
    folder.mkdir(parents=True)
    for number, text in enumerate(HOSTILE.values()):
        (folder / f"bad{number}.yaml").write_text(text)
    (folder / "good.yaml").write_text(
        "name: good\ntable: t\ngrain: [id]\ncolumns: [{name: id, type: number}]\n"
    )
    assert "good" in load_layer(tmp_path / "semantic-layer", "shop").sources


def test_a_check_of_a_project_with_hostile_files_ends_with_findings(tmp_path: Path) -> None:
    project = create_project(tmp_path / "project", config_text="connections: {}\n")
    (project.wiki_dir / "global").mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(HOSTILE.values()):
        (project.wiki_dir / "global" / f"bad{number}.md").write_text(f"---\nsummary: x\n{text}\n---\n# X\n")
    done = subprocess.run(
        [sys.executable, "-m", "ktx", "check", "--json"],
        cwd=project.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr[-500:]
    told = json.dumps(json.loads(done.stdout))
    assert all(f"bad{number}.md" in told for number in range(len(HOSTILE)))


def test_what_is_nested_as_deeply_as_allowed_can_be_read_and_edited() -> None:
    depth = MAX_DEPTH - 2
    text = "summary: x\nmeta: {a: " + "[" * (depth - 1) + "1" + "]" * (depth - 1) + "}\n"
    assert parse_yaml(text) is not None
    assert "tags" in edit_page(f"---\n{text}---\n# X\n", head={"tags": ["a"]})
    source = "name: x\nmeta: {a: " + "[" * (depth - 1) + "1" + "]" * (depth - 1) + "}\n"
    data = as_data(source, source_artifact("shop", "x"))
    assert "count(*)" in edit_source(source, {**data, "measures": [{"name": "n", "expr": "count(*)"}]})


def test_an_alias_repeats_what_it_names() -> None:
    assert parse_yaml("a: &x {b: [1, 2]}\nc: *x\n") == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}
