"""Remembering what somebody says: a text becomes pages and definitions in the background, and a status that tells the truth."""

import os
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, cast

from ktx.errors import ConfigError, KtxError, UsageError
from ktx.names import is_page_key
from ktx.project import Project, ensure_state_dir, find_repository
from ktx.serve.answers import Captured, MemoryRun, MemoryStatus
from ktx.serve.desk import Desk
from ktx.serve.texts import AGAIN, CRASHED, Order, ensure_model
from ktx.wiki.store import load_page

if TYPE_CHECKING:
    from ktx.ingest.artifact import Json
    from ktx.ingest.runs import Run

MOST_CHARS: Final = 200_000
_SOURCE: Final = "text"
_INTERRUPTED: Final = "The ktx process that worked on it ended before it was done."


def can_remember(project: Project) -> bool:
    """Tell whether a text could be remembered: a model is configured and installed, the folder is writable and in git."""
    try:
        ensure_model(project)
        return _is_writable(project) and find_repository(project) is not None
    except ConfigError:
        return False


def memory_ingest(desk: Desk, content: str, *, connection_id: str | None = None) -> MemoryRun:
    """Take a text to be worked into pages and definitions, and give its run at once; `memory_ingest_status` tells how it goes.

    Raises:
        UsageError: the text is empty, too long or not text, or the connection is unknown or no warehouse.
        ConfigError: no language model is configured.
        OutsideError: too many texts are waiting, or the server is being stopped.
    """
    from ktx.ingest.runs import open_runs

    _ensure_text(content)
    chosen = None if connection_id is None else desk.connection_id(connection_id)
    ensure_model(desk.project)
    with open_runs(ensure_state_dir(desk.project)) as store:
        run_id = store.begin(_SOURCE, body={}, is_queued=True)
        try:
            order = Order(run_id=run_id, project=desk.project, content=content, connection_id=chosen)
            desk.texts.add(order)
        except KtxError as error:
            store.end(run_id, status="failed", commit=None, body={"error": error.message})
            raise
    return MemoryRun(run_id=run_id)


def memory_ingest_status(desk: Desk, run_id: str) -> MemoryStatus:
    """Tell how the run of a text stands, whichever ktx process has or had it.

    Raises:
        UsageError: there is no such run, or it is not that of a text.
    """
    # Asked before the run is read: one that ends in between is read as ended, and never taken for lost.
    place, is_ours = desk.texts.place(run_id), desk.texts.is_known(run_id)
    run = _run(desk.project, run_id)
    if run.status in ("queued", "running"):
        if is_ours and place is None:
            return _status(desk, run, error=desk.texts.lost(run_id) or CRASHED, stage="failed")
        return _status(desk, run, error=None, stage=_queued(place) if place else run.stage)
    if run.status == "done":
        return _status(desk, run, error=None, stage=_done(run.body))
    if run.status == "interrupted":
        said = run.body.get("error")
        error = f"{_INTERRUPTED} {AGAIN}" if not said else f"It was cut off: {said}. {AGAIN}"
        return _status(desk, run, error=error, stage=run.stage)
    return _status(desk, run, error=_failure(run.body), stage=run.stage)


def _ensure_text(content: str) -> None:
    if not content.strip():
        raise UsageError("The text is empty.", hint="Give what should be remembered, in whole sentences.")
    if len(content) > MOST_CHARS:
        raise UsageError(
            f"The text has {len(content):,} characters; at most {MOST_CHARS:,} are remembered at once.",
            hint="Give the part that matters, or let a person run `ktx ingest --file`.",
        )
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise UsageError("The text is not valid Unicode (half of a surrogate pair).") from error


def _is_writable(project: Project) -> bool:
    folders = (project.root, project.state_dir, project.wiki_dir, project.semantic_dir)
    return all(os.access(folder, os.W_OK | os.X_OK) for folder in folders if folder.exists())


def _run(project: Project, run_id: str) -> "Run":
    """Give the run of a text by its whole id."""
    from ktx.ingest.runs import FILE_NAME, open_runs

    if (project.state_dir / FILE_NAME).exists():
        with open_runs(project.state_dir) as store:
            run = store.run(run_id)
        if run is not None and run.id == run_id:
            if run.source == _SOURCE:
                return run
            raise UsageError(f"The run `{run_id}` is one of `{run.source[:80]}`, not of a text.")
    raise UsageError(
        f"There is no run `{run_id[:80]}`.",
        hint="`memory_ingest` gives the id of its run; the last 200 runs of a project are kept.",
    )


def _status(desk: Desk, run: "Run", *, error: str | None, stage: str) -> MemoryStatus:
    is_running = error is None and run.status in ("queued", "running")
    captured = _captured(desk, run.body)
    units = _rows(run.body, "units")
    return MemoryStatus(
        run_id=run.id,
        status="running" if is_running else "error" if error is not None else "done",
        stage=stage,
        done=not is_running,
        captured=captured,
        error=error,
        commit_hash=run.commit,
        skills_loaded=[],
        signal_detected=bool(
            captured.wiki
            or captured.sl
            or _rows(run.body, "changes")
            or any(one.get("changes") for one in units)
        ),
    )


def _queued(place: int) -> str:
    return f"queued: {place} {'text' if place == 1 else 'texts'} before it"


def _done(body: "Mapping[str, Json]") -> str:
    """Say that a run is done, and what of it a reader should know before relying on it."""
    left_out = [one for one in _rows(body, "changes") if one.get("effect") == "left-out"]
    short = [str(one.get("detail")) for one in _rows(body, "units") if one.get("status") == "partial"]
    notes = [*short[:1]]
    if left_out:
        first = left_out[0]
        notes.append(
            f"{len(left_out)} proposed and left out, the first `{first.get('target')}` {first.get('entry')}: {first.get('reason')}"
        )
    return "done" if not notes else f"done; {'; '.join(notes)}"[:600]


def _failure(body: "Mapping[str, Json]") -> str:
    """Say in a sentence or two why a run failed, or which part of it did."""
    if body.get("error"):
        parts = [body.get("error"), body.get("hint")]
    else:
        bad = [one for one in _rows(body, "units") if one.get("status") in ("failed", "not-run", "refused")]
        parts = [bad[0].get("detail"), bad[0].get("hint")] if bad else []
        if len(bad) > 1:
            parts.insert(0, f"{len(bad)} of {len(_rows(body, 'units'))} parts failed, the first:")
    return " ".join(_sentence(str(part)) for part in parts if part) or "It failed, and gave no reason."


def _sentence(text: str) -> str:
    return text if text.endswith((".", ":", "!", "?")) else f"{text}."


def _captured(desk: Desk, body: "Mapping[str, Json]") -> Captured:
    """Give what has landed, by the run's own report; a run that was finished after a crash only names its files."""
    files = body.get("files")
    if not files:
        return Captured(wiki=[], sl=[], xrefs=[])
    rows = [one for one in _rows(body, "changes") if one.get("effect") in ("added", "changed")]
    targets = [(str(one["target"]), str(one["entry"]).partition(".")[2]) for one in rows]
    if "changes" not in body and isinstance(files, list):
        targets = [(target, "") for one in files if (target := _target(str(one)))]
    wiki = sorted({target.removeprefix("wiki/") for target, _ in targets if target.startswith("wiki/")})
    return Captured(
        wiki=wiki,
        sl=sorted(
            {
                f"{target}.{entry}" if entry else target
                for target, entry in targets
                if not target.startswith("wiki/")
            }
        ),
        xrefs=_pointed_at(desk, wiki),
    )


def _target(file: str) -> str | None:
    path = PurePosixPath(file)
    match path.parts:
        case ("wiki", "global", *rest) if rest:
            return f"wiki/{PurePosixPath(*rest).with_suffix('')}"
        case ("semantic-layer", connection, *rest) if rest:
            return f"{connection}/{path.stem}"
        case _:
            return None


def _pointed_at(desk: Desk, keys: Iterable[str]) -> list[str]:
    from ktx.wiki.links import parse_links  # it brings the Markdown parser, which few questions need

    found: set[str] = set()
    for key in keys:
        if not is_page_key(key):
            continue
        try:
            page = load_page(desk.project.wiki_dir, key, user_id=desk.user_id)
        except KtxError:
            continue  # a person has taken it away or broken it since
        found |= {link.target for link in parse_links(page) if link.kind == "page"}
    return sorted(found)


def _rows(body: "Mapping[str, Json]", key: str) -> "list[dict[str, Json]]":
    found = body.get(key)
    return (
        [cast("dict[str, Json]", one) for one in found if isinstance(one, dict)]
        if isinstance(found, list)
        else []
    )
