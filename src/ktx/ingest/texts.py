"""What people say: texts and files become pages and definitions, each as a run of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ktx.errors import KtxError, UsageError
from ktx.events import Emit, Notice, ignore
from ktx.ingest.runs import RunStore, open_runs
from ktx.ingest.source_report import SourceReport
from ktx.ingest.sources import ingest_source
from ktx.ingest.work import Given
from ktx.names import is_page_key
from ktx.project import Project, ensure_state_dir, project_lock, warehouse_connection, warehouse_ids
from ktx.sources.text.source import TextItem, TextSource, verbatim_page
from ktx.wiki.page import split_front_matter
from ktx.wiki.store import page_path

SOURCE_ID: Final = "text"
TextStatus: TypeAlias = Literal["done", "error", "not-run"]


@dataclass(frozen=True, kw_only=True)
class TextResult:
    """One text: its run, what was captured as pages and as `connection/source.entry`, and the commit."""

    label: str
    status: TextStatus
    run_id: str | None = None
    wiki: tuple[str, ...] = ()
    sl: tuple[str, ...] = ()
    commit: str | None = None
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0
    report: SourceReport | None = None


def ingest_texts(
    project: Project,
    items: Sequence[TextItem],
    *,
    connection_id: str | None = None,
    user_id: str | None = None,
    is_verbatim: bool = False,
    is_fail_fast: bool = False,
    run_id: str | None = None,
    emit: Emit = ignore,
) -> tuple[TextResult, ...]:
    """Ingest texts one after the other; one that fails is named, and keeps no other from being done unless `is_fail_fast`.

    Without a language model, or with `is_verbatim`, a text becomes a wiki page as it is. `run_id` names the run of a single text.

    Raises:
        ConfigError: the connection is unknown.
        UsageError: the user's name cannot be a folder.
        OutsideError: another ktx command keeps the project's lock.
    """
    if connection_id is not None:
        warehouse_connection(project, connection_id)
    if user_id is not None and not is_page_key(user_id):
        raise UsageError(
            f"`{user_id[:80]}` cannot name a user.",
            hint="Use letters, digits, `_` and `-`, beginning with a letter or digit.",
        )
    results: list[TextResult] = []
    with project_lock(project), open_runs(ensure_state_dir(project)) as store:
        for item in items:
            if is_fail_fast and any(one.status == "error" for one in results):
                results.append(TextResult(label=item.label, status="not-run"))
                continue
            emit(Notice(message=f"text: {item.label}"))
            results.append(
                ingest_text(
                    project,
                    item,
                    store,
                    connection_id=connection_id,
                    user_id=user_id,
                    is_verbatim=is_verbatim,
                    run_id=run_id,
                    emit=emit,
                )
            )
    return tuple(results)


def ingest_text(
    project: Project,
    item: TextItem,
    store: RunStore,
    *,
    connection_id: str | None = None,
    user_id: str | None = None,
    is_verbatim: bool = False,
    run_id: str | None = None,
    emit: Emit = ignore,
) -> TextResult:
    """Ingest one text as `ingest_texts` does; the caller holds the project's lock. A failure is in the result, and in the run."""
    source = TextSource(
        items=(item,),
        connection_ids=(connection_id,) if connection_id else (),
        writable_ids=warehouse_ids(project),
    )
    given = Given(
        source_id=SOURCE_ID, driver="text", source=source, wants_verbatim=is_verbatim, user_id=user_id
    )
    try:
        if given.wants_verbatim:
            _ensure_free(project, item, given.user_id)
        report = ingest_source(project, given, store, emit=emit, run_id=run_id)
    except KtxError as error:
        if run_id is not None:
            store.end(run_id, status="failed", commit=None, body={"error": error.message, "hint": error.hint})
        return TextResult(
            label=item.label,
            status="error",
            run_id=run_id,
            error=error.message,
            hint=error.hint,
            exit_code=error.exit_code,
        )
    failed = next((unit for unit in report.units if unit.status in ("failed", "not-run", "refused")), None)
    changed = [one for one in report.changes if report.files and one.effect in ("added", "changed")]
    return TextResult(
        label=item.label,
        status="error" if report.status == "failed" or failed else "done",
        run_id=report.run_id,
        wiki=tuple(
            sorted({one.target.removeprefix("wiki/") for one in changed if one.target.startswith("wiki/")})
        ),
        sl=tuple(
            sorted(
                f"{one.target}.{one.entry.partition('.')[2]}"
                for one in changed
                if not one.target.startswith("wiki/")
            )
        ),
        commit=report.commit,
        error=report.error or (failed.detail if failed else None),
        hint=report.hint or (failed.hint if failed else None),
        exit_code=report.exit_code,
        report=report,
    )


def _ensure_free(project: Project, item: TextItem, user_id: str | None) -> None:
    """Refuse to put another text in the place of a page.

    Raises:
        UsageError: there is a page of that key with another body.
    """
    page = verbatim_page(item)
    path = page_path(project.wiki_dir, page.key, user_id=user_id)
    try:
        present = split_front_matter(path.read_text(encoding="utf-8"))[1]
    except (OSError, UnicodeDecodeError):
        return
    if present.strip() != page.body.strip():
        raise UsageError(
            f"The page `{page.key}` is there already, with another text.",
            hint="Give the file another name, or edit or delete the page first.",
        )
