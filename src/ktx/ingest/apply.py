"""A run's result written for good: to the files, and to git as one commit, so that a kill at any point loses nothing.

What will be written is first kept whole in `.ktx/apply.json`. A run that was killed after that is finished by the next one. Where
a person has changes in a file that are not committed, the file gets both, and the commit only ours.
"""

import glob
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from ktx.errors import LayerError
from ktx.files import digest, read_text, write_text
from ktx.git import Repository
from ktx.ingest.artifact import Artifact, Json
from ktx.ingest.change import Change, by_artifact
from ktx.ingest.draft import Base, Draft
from ktx.ingest.merge import merge

JOURNAL: Final = "apply.json"
RUN_TRAILER: Final = "Ktx-Run"
SOURCE_TRAILER: Final = "Ktx-Source"


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What was written: files relative to the project, and the commit, None when nothing was to be committed."""

    files: tuple[str, ...]
    commit: str | None
    uncommitted: tuple[str, ...] = ()
    """Files that a person has not committed yet: ours is in them, and not in the commit."""


@dataclass(frozen=True, kw_only=True)
class Write:
    """One file. `commit` is what the commit holds for it; `is_committed` is False for a person's new file."""

    path: str
    before: str | None
    after: str | None
    commit: str | None
    is_committed: bool


@dataclass(frozen=True, kw_only=True)
class Order:
    """Everything that is needed to write a run's result, or to finish writing it later."""

    run: str
    source: str
    message: str
    author: str
    parent: str | None
    writes: tuple[Write, ...]


def order_of(
    base: Base,
    repository: Repository,
    texts: Mapping[Artifact, str | None],
    changes: Iterable[Change],
    *,
    run: str,
    source: str,
    message: str,
    author: str,
) -> Order:
    """Work out what is written where. `texts` are the files as they shall be, `changes` what made them so."""
    grouped = by_artifact(changes)
    paths = {artifact: base.path(artifact) for artifact in texts}
    dirty = set(repository.changed(list(paths.values())))
    writes: list[Write] = []
    for artifact, text in sorted(texts.items()):
        path = paths[artifact]
        present = base.text(artifact)
        commit, is_committed = text, True
        if path.resolve() in {one.resolve() for one in dirty}:
            committed = repository.committed_text(path)
            is_committed = committed is not None
            commit = _over(base, artifact, committed, grouped.get(artifact, ()))
        writes.append(
            Write(
                path=path.relative_to(base.root).as_posix(),
                before=None if present is None else digest(present),
                after=text,
                commit=commit,
                is_committed=is_committed,
            )
        )
    return Order(
        run=run,
        source=source,
        message=message,
        author=author,
        parent=repository.head(),
        writes=tuple(writes),
    )


def apply(root: Path, state_dir: Path, repository: Repository, order: Order) -> Applied:
    """Write and commit.

    Raises:
        OSError: a file cannot be written; the next run goes on from here.
        ConfigError: git refuses.
    """
    if not order.writes:
        return Applied(files=(), commit=None)
    write_text(state_dir / JOURNAL, _dump(order), mode=0o600)
    return _carry_out(root, state_dir, repository, order)


def finish_interrupted(root: Path, state_dir: Path, repository: Repository) -> tuple[Order, Applied] | None:
    """Finish what a killed run had begun to write; None when there is nothing of the kind."""
    journal = state_dir / JOURNAL
    _drop_halves([journal])
    try:
        order = _load(read_text(journal))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        journal.unlink()
        return None
    _drop_halves([root / write.path for write in order.writes])
    return order, _carry_out(root, state_dir, repository, order)


def _drop_halves(paths: Iterable[Path]) -> None:
    """Delete what a killed run left of files that it was writing."""
    for path in paths:
        for half in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            half.unlink(missing_ok=True)


def _carry_out(root: Path, state_dir: Path, repository: Repository, order: Order) -> Applied:
    for write in order.writes:
        _write(root / write.path, write)
    commit: str | None = None
    texts = {root / write.path: write.commit for write in order.writes if write.is_committed}
    if texts and repository.has_commit_since(order.parent, trailer=RUN_TRAILER, value=order.run):
        repository.refresh_index(sorted(texts))  # a run that was killed after its commit left it behind
    elif texts:
        trailers = {SOURCE_TRAILER: order.source, RUN_TRAILER: order.run}
        commit = repository.commit_texts(texts, order.message, author=order.author, trailers=trailers)
    (state_dir / JOURNAL).unlink()
    return Applied(
        files=tuple(write.path for write in order.writes),
        commit=commit or (repository.head() if texts else None),
        uncommitted=tuple(write.path for write in order.writes if not write.is_committed),
    )


def _write(path: Path, write: Write) -> None:
    """Write one file, unless somebody has changed it since it was read."""
    try:
        present: str | None = read_text(path)
    except (FileNotFoundError, UnicodeDecodeError):
        present = None
    if (None if present is None else digest(present)) != write.before:
        return
    if write.after is None:
        path.unlink(missing_ok=True)
    else:
        write_text(path, write.after)


def _over(base: Base, artifact: Artifact, committed: str | None, changes: Iterable[Change]) -> str | None:
    """Give what the changes make of the committed text, without what a person has not committed yet."""
    draft = Draft(base=base, texts={artifact: committed})
    try:
        return merge(draft, changes).draft.text(artifact)
    except LayerError:
        return committed


def _dump(order: Order) -> str:
    return json.dumps(
        {
            "run": order.run,
            "source": order.source,
            "message": order.message,
            "author": order.author,
            "parent": order.parent,
            "writes": [
                {
                    "path": one.path,
                    "before": one.before,
                    "after": one.after,
                    "commit": one.commit,
                    "is_committed": one.is_committed,
                }
                for one in order.writes
            ],
        },
        ensure_ascii=False,
    )


def _load(text: str) -> Order:
    data = cast("dict[str, Json]", json.loads(text))
    return Order(
        run=str(data["run"]),
        source=str(data["source"]),
        message=str(data["message"]),
        author=str(data["author"]),
        parent=None if data["parent"] is None else str(data["parent"]),
        writes=tuple(
            Write(
                path=str(one["path"]),
                before=cast("str | None", one["before"]),
                after=cast("str | None", one["after"]),
                commit=cast("str | None", one["commit"]),
                is_committed=bool(one["is_committed"]),
            )
            for one in cast("list[dict[str, Json]]", data["writes"])
        ),
    )
