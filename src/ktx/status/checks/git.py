"""Whether changes can be recorded."""

from collections.abc import Iterator

from ktx.config import env
from ktx.errors import ConfigError
from ktx.git import Repository, ensure_git
from ktx.status.check import Check, Scene


def check_git(scene: Scene) -> Iterator[Check]:
    """Look for git, the repository, and files of the layer that are not committed."""
    try:
        version = ".".join(map(str, ensure_git(env.get("PATH"))))
        repository = Repository.find(scene.root, environment=env.snapshot())
        if repository is None:
            yield Check(
                id="git",
                status="warn",
                detail="no repository records this folder yet",
                fix="`ktx admin init --force` makes one; `ktx ingest` does so as well.",
            )
            return
        project = scene.project
        changed = repository.changed([project.config_file, project.semantic_dir, project.wiki_dir])
        top = repository.top
    except ConfigError as error:
        yield Check(
            id="git", status="fail", detail=error.message, fix=error.hint, needed_by=frozenset({"ingest"})
        )
        return
    place = "its own repository" if top == scene.root.resolve() else f"recorded in {top}"
    pending = f", {len(changed)} of its files not committed" if changed else ""
    yield Check(id="git", status="pass", detail=f"git {version}, {place}{pending}")
