"""Decisions about joins, and what `ktx scan explain` says."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ktx.errors import UsageError
from ktx.ingest.explain import explain_column
from ktx.ingest.pipeline import ingest
from ktx.ingest.review import decide, list_waiting
from ktx.project import Project, create_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    connection = sqlite3.connect(tmp_path / "air.sqlite")
    connection.execute("CREATE TABLE planes (tail TEXT, maker TEXT)")
    connection.execute("CREATE TABLE flights (id INTEGER, tail TEXT)")
    connection.executemany("INSERT INTO planes VALUES (?, ?)", [(f"N{n:04}", f"m{n % 3}") for n in range(80)])
    connection.executemany("INSERT INTO flights VALUES (?, ?)", [(n, f"N{n % 100:04}") for n in range(200)])
    connection.commit()
    connection.close()
    project = create_project(
        tmp_path / "p", config_text="connections:\n  air: {driver: sqlite, path: ../air.sqlite}\n"
    )
    ingest(project)
    return project


def flights(project: Project) -> dict[str, object]:
    text = (project.semantic_dir / "air" / "_schema" / "public.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe").load(text)["tables"]["flights"]


def test_an_accepted_join_is_manual_and_survives_the_loss_of_all_local_state(project: Project) -> None:
    (waiting,) = list_waiting(project)
    assert waiting.link.text == "flights.tail -> planes.tail"
    assert "joins" not in flights(project)
    decided = decide(project, accept=[waiting.link.id])
    assert decided.commit is not None
    shutil.rmtree(project.state_dir)
    ingest(project)
    assert flights(project)["joins"] == [
        {
            "to": "planes",
            "on": "flights.tail = planes.tail",
            "relationship": "many_to_one",
            "source": "manual",
        }
    ]
    assert list_waiting(project) == ()


def test_a_rejected_join_is_never_proposed_again(project: Project) -> None:
    (waiting,) = list_waiting(project)
    decide(project, reject=[waiting.link.id])
    shutil.rmtree(project.state_dir)
    report = ingest(project)
    assert report.connections[0].review == ()
    assert report.commit is None
    assert flights(project)["rejected_joins"] == [{"to": "planes", "on": "flights.tail = planes.tail"}]


def test_a_decision_can_be_turned_around(project: Project) -> None:
    (waiting,) = list_waiting(project)
    decide(project, reject=[waiting.link.id])
    decide(project, accept=[waiting.link.id])
    assert "rejected_joins" not in flights(project)
    assert len(flights(project)["joins"]) == 1
    assert decide(project, accept=[waiting.link.id]).commit is None


def test_an_unknown_id_is_refused_and_nothing_is_written(project: Project) -> None:
    before = flights(project)
    with pytest.raises(UsageError, match="No relationship has the id `nonsense`"):
        decide(project, accept=["nonsense"])
    assert flights(project) == before


def test_a_column_is_explained_with_its_data_and_the_reasons_of_its_relationships(project: Project) -> None:
    found = explain_column(project, "flights.tail")
    assert (found.profiled_rows, found.profile.distinct_count if found.profile else 0) == (200, 100)
    ((link, reasons),) = found.relationships
    assert link.decision == "review"
    assert any("20 of 100 distinct values have no partner" in reason for reason in reasons)
    assert explain_column(project, "planes.tail").key == "primary key, found on data"


def test_a_misspelt_column_is_answered_with_the_nearest(project: Project) -> None:
    with pytest.raises(UsageError, match=r"Did you mean `flights\.tail`"):
        explain_column(project, "flights.tial")


def test_the_commands_speak_json(project: Project) -> None:
    base = [sys.executable, "-m", "ktx"]
    place = ["--project-dir", str(project.root), "--json"]
    listed = subprocess.run([*base, "review", *place], capture_output=True, text=True, check=True)
    (waiting,) = json.loads(listed.stdout)["waiting"]
    done = subprocess.run(
        [*base, "review", "--accept", waiting["link"]["id"], *place],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["accepted"] == [waiting["link"]["id"]]
    explained = subprocess.run(
        [*base, "scan", "explain", "flights.tail", *place], capture_output=True, text=True, check=True
    )
    assert json.loads(explained.stdout)["column"]["name"] == "tail"


def test_an_explanation_shows_what_has_been_decided_since_the_scan(project: Project) -> None:
    (waiting,) = list_waiting(project)
    decide(project, accept=[waiting.link.id])
    ((link, _),) = explain_column(project, "flights.tail").relationships
    assert (link.decision, link.origin) == ("accepted", "manual")
    decide(project, reject=[waiting.link.id])
    ((link, _),) = explain_column(project, "flights.tail").relationships
    assert link.decision == "rejected"


def test_a_manifest_that_cannot_be_read_fails_its_connection_and_stays_as_it_is(project: Project) -> None:
    manifest = project.semantic_dir / "air" / "_schema" / "public.yaml"
    manifest.write_bytes(b"tables: \xff\n")
    (report,) = ingest(project).connections
    assert report.status == "failed"
    assert report.error == "`semantic-layer/air/_schema/public.yaml` cannot be read: it is not UTF-8 text."
    assert manifest.read_bytes() == b"tables: \xff\n"
