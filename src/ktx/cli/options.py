"""Options that many commands share, as decorators.

`project_option` hands the opened project over as `project`, `project_dir_option` the folder alone as `project_dir`,
`json_option` a flag as `as_json`.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

import click

from ktx.cli.render.narrate import show_finding
from ktx.errors import UsageError

if TYPE_CHECKING:
    from ktx.project import Project

Result = TypeVar("Result")


def project_dir_option(command: Callable[..., Result]) -> Callable[..., Result]:
    """Add `--project-dir` and hand over the folder it means as `project_dir`, whether or not it holds a project."""

    @click.option(
        "--project-dir",
        type=click.Path(path_type=Path),
        help="The project; else KTX_PROJECT_DIR, else the nearest ktx.yaml upwards, else here.",
    )
    @functools.wraps(command)
    def wrapped(*args: object, project_dir: Path | None, **kwargs: object) -> Result:
        return command(*args, project_dir=_meant_dir(project_dir), **kwargs)

    return wrapped


def project_option(command: Callable[..., Result]) -> Callable[..., Result]:
    """Add `--project-dir` and hand over the opened project as `project`; warnings about ktx.yaml go to stderr."""

    @project_dir_option
    @functools.wraps(command)
    def wrapped(*args: object, project_dir: Path, **kwargs: object) -> Result:
        return command(*args, project=_opened(project_dir), **kwargs)

    return wrapped


def json_option(command: Callable[..., Result]) -> Callable[..., Result]:
    """Add `--json`, handed over as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def read_given(stream: TextIO) -> str:
    """Read the text of a file that an option names, or of stdin.

    Raises:
        UsageError: it is not UTF-8.
    """
    try:
        text = stream.read()
        text.encode()  # stdin lets bytes through as lone surrogates under some locales
    except UnicodeError as error:
        raise UsageError(f"`{stream.name}` is not UTF-8 text.", hint="Save it as UTF-8.") from error
    return text


# The project is imported when a command runs, so that `--help` of any command stays cheap.
def _meant_dir(given: Path | None) -> Path:
    from ktx.project import find_project_dir

    root: object = click.get_current_context().find_root().params.get("project_dir")
    return find_project_dir(given or (root if isinstance(root, Path) else None), Path.cwd())


def _opened(root: Path) -> "Project":
    from ktx.project import open_project

    project = open_project(root)
    for finding in project.findings:
        if finding.level != "note":
            show_finding(finding)
    return project
