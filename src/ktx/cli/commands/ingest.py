"""`ktx ingest`: databases into the manifest, context sources and texts into definitions and pages."""

import sys
from pathlib import Path

import click

from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import write_json, write_text
from ktx.cli.render.ingest import estimate_text, ingest_json, ingest_text
from ktx.cli.render.narrate import say, show_error
from ktx.cli.render.progress import drawn_events
from ktx.cli.render.sources import (
    plan_text,
    source_estimate_text,
    source_json,
    source_text,
    text_json,
    texts_text,
)
from ktx.errors import OutsideError, UsageError
from ktx.ingest.history import HistoryChoice
from ktx.ingest.prose import estimate_prose
from ktx.ingest.run import ProjectReport, choose, foresee_sources, ingest_project, plan_sources
from ktx.ingest.stages import STAGES
from ktx.ingest.texts import ingest_texts
from ktx.project import Project
from ktx.sources.text.source import TextItem


@click.command()
@click.argument("connection_ids", metavar="[ID]…", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every connection; the same as naming none.")
@click.option("--text", "texts", multiple=True, metavar="TEXT", help="Remember a text; may be given again.")
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="PATH|-",
    help="Remember a file (Markdown, text, HTML, PDF, DOCX), or what comes in at stdin; may be given again.",
)
@click.option("--connection-id", metavar="ID", help="The database that the texts are about.")
@click.option("--user-id", metavar="NAME", help="Keep the texts as pages of one user, which only they see.")
@click.option(
    "--verbatim", is_flag=True, help="Keep each text as a wiki page, word for word; no model is asked."
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first text that fails.")
@click.option(
    "--plan", is_flag=True, help="Show the stages and what each would do; write nothing, ask no model."
)
@click.option(
    "--estimate",
    is_flag=True,
    help="Print what a model would be asked, in calls, tokens and money; ask nothing.",
)
@click.option("--plain", is_flag=True, help="One line per step, nothing drawn over.")
@click.option("--yes", is_flag=True, help="Ask a model without asking you first.")
@click.option("--no-input", is_flag=True, help="Never ask anything, also on a terminal.")
@click.option(
    "--query-history/--no-query-history",
    "is_history_wanted",
    default=None,
    help="Read past queries too, or not, whatever ktx.yaml says.",
)
@click.option(
    "--query-history-window-days",
    "window_days",
    type=click.IntRange(min=1),
    help="How far back past queries are read, where the database keeps times.",
)
@click.option(
    "--query-history-narrative",
    "wants_words",
    is_flag=True,
    help="Have a model say in words what people ask of each table, as past queries show it.",
)
@project_option
@json_option
def ingest(
    *,
    project: Project,
    connection_ids: tuple[str, ...],
    is_all: bool,
    texts: tuple[str, ...],
    files: tuple[str, ...],
    connection_id: str | None,
    user_id: str | None,
    verbatim: bool,
    fail_fast: bool,
    plan: bool,
    estimate: bool,
    plain: bool,
    yes: bool,
    no_input: bool,
    is_history_wanted: bool | None,
    window_days: int | None,
    wants_words: bool,
    as_json: bool,
) -> int:
    """Read databases, the tools around them, and what people say; write the layer, check it, commit it, index it.

    Without an ID every connection of ktx.yaml is read: databases first, then the context sources (dbt, MetricFlow, LookML, Looker,
    Metabase, Notion) that land on them. A second run on unchanged sources asks no model and writes nothing.
    """
    if is_all and connection_ids:
        raise UsageError(
            "Give connection ids or `--all`, not both.", hint="`ktx ingest` alone takes every connection."
        )
    if texts or files:
        if connection_ids or is_all or plan or estimate:
            raise UsageError(
                "Texts are ingested by themselves, without connection ids, `--all`, `--plan` or `--estimate`.",
                hint="Name the database that they are about with `--connection-id`.",
            )
        items = [*_text_items(texts), *_file_items(files)]
        return _texts(
            project,
            items,
            connection_id=connection_id,
            user_id=user_id,
            is_verbatim=verbatim,
            is_fail_fast=fail_fast,
            is_plain=plain,
            as_json=as_json,
        )
    _ensure_no_text_options(
        connection_id=connection_id, user_id=user_id, verbatim=verbatim, fail_fast=fail_fast
    )
    chosen = choose(project, connection_ids)
    if plan:
        return _plan(project, connection_ids, chosen.warehouses, is_plain=plain, as_json=as_json)
    history = HistoryChoice(is_wanted=is_history_wanted, window_days=window_days, wants_words=wants_words)
    if estimate:
        return _estimate(project, connection_ids, history=history, is_plain=plain, as_json=as_json)
    if sys.stdin.isatty() and not (yes or no_input or as_json):
        _confirm_cost(project, connection_ids)
    with drawn_events(is_plain=plain or as_json) as emit:
        report = ingest_project(project, connection_ids, emit=emit, history=history)
    _show(report, as_json=as_json)
    return report.exit_code


def _show(report: ProjectReport, *, as_json: bool) -> None:
    databases = report.warehouses
    if as_json:
        scanned = {} if databases is None else ingest_json(databases)
        write_json(
            {"plan": [], "results": [], **scanned, "sources": [source_json(one) for one in report.sources]}
        )
    else:
        if databases is not None:
            write_text(ingest_text(databases, is_wide=sys.stdout.isatty()))
        for one in report.sources:
            write_text(source_text(one, is_wide=sys.stdout.isatty()))
    if databases is None and not report.sources:
        say("There is nothing to read; name a database or a context source under `connections` in ktx.yaml.")
    for one in databases.connections if databases else ():
        if one.error:
            show_error(f"{one.connection_id}: {one.error}", hint=one.hint, findings=one.findings)
    for failure in databases.failures if databases else ():
        show_error(f"{failure.what}: {failure.message}", hint=failure.hint, findings=())
    for one in report.sources:
        if one.error:
            show_error(f"{one.source_id}: {one.error}", hint=one.hint, findings=one.error_findings)


def _texts(
    project: Project,
    items: list[TextItem],
    *,
    connection_id: str | None,
    user_id: str | None,
    is_verbatim: bool,
    is_fail_fast: bool,
    is_plain: bool,
    as_json: bool,
) -> int:
    with drawn_events(is_plain=is_plain or as_json) as emit:
        results = ingest_texts(
            project,
            items,
            connection_id=connection_id,
            user_id=user_id,
            is_verbatim=is_verbatim,
            is_fail_fast=is_fail_fast,
            emit=emit,
        )
    if as_json:
        write_json(text_json(results, project_dir=project.root, connection_id=connection_id))
    else:
        write_text(texts_text(results))
    for one in results:
        if one.error:
            show_error(f"{one.label}: {one.error}", hint=one.hint)
    codes = {one.exit_code or 1 for one in results if one.status != "done"}
    return codes.pop() if len(codes) == 1 else 1 if codes else 0


def _text_items(texts: tuple[str, ...]) -> list[TextItem]:
    return [
        TextItem(label=f"text {number}", content=text.encode("utf-8", "replace"))
        for number, text in enumerate(texts, start=1)
    ]


def _file_items(files: tuple[str, ...]) -> list[TextItem]:
    if files.count("-") > 1:
        raise UsageError("stdin can be read once.", hint="Give `--file -` a single time.")
    return [_file_item(name) for name in files]


def _file_item(name: str) -> TextItem:
    if name == "-":
        return TextItem(label="stdin", content=sys.stdin.buffer.read())
    try:
        return TextItem(label=name, content=Path(name).read_bytes(), name=Path(name).name)
    except OSError as error:
        raise UsageError(f"`{name}` cannot be read: {error.strerror}.") from error


def _ensure_no_text_options(
    *, connection_id: str | None, user_id: str | None, verbatim: bool, fail_fast: bool
) -> None:
    given = {
        "--connection-id": connection_id is not None,
        "--user-id": user_id is not None,
        "--verbatim": verbatim,
        "--fail-fast": fail_fast,
    }
    wrong = [name for name, is_given in given.items() if is_given]
    if wrong:
        raise UsageError(
            f"`{wrong[0]}` is about texts, and none was given.", hint="Add `--text TEXT` or `--file PATH`."
        )


def _plan(
    project: Project, ids: tuple[str, ...], warehouses: tuple[str, ...], *, is_plain: bool, as_json: bool
) -> int:
    with drawn_events(is_plain=is_plain or as_json) as emit:
        plans = plan_sources(project, ids, emit=emit)
    if as_json:
        write_json(
            {
                "stages": [{"stage": stage.name, "about": stage.about} for stage in STAGES],
                "databases": list(warehouses),
                "sources": [source_json(one) for one in plans],
            }
        )
    else:
        write_text(plan_text(STAGES, warehouses, plans))
    for one in plans:
        if one.error:
            show_error(f"{one.source_id}: {one.error}", hint=one.hint, findings=one.error_findings)
    codes = {one.error_exit_code or 1 for one in plans if one.error}
    return codes.pop() if len(codes) == 1 else 1 if codes else 0


def _estimate(
    project: Project, ids: tuple[str, ...], *, history: HistoryChoice, is_plain: bool, as_json: bool
) -> int:
    chosen = choose(project, ids)
    with drawn_events(is_plain=is_plain or as_json) as emit:
        prose = (
            estimate_prose(project, chosen.warehouses, history=history, emit=emit)
            if chosen.warehouses
            else ()
        )
        sources = foresee_sources(project, chosen.sources, emit=emit) if chosen.sources else ()
    if as_json:
        write_json({"estimates": prose, "sources": sources})
    else:
        write_text(estimate_text(prose) + source_estimate_text(sources))
    return 0


def _confirm_cost(project: Project, connection_ids: tuple[str, ...]) -> None:
    """Ask a person before a model is paid; nothing is asked when none would be."""
    chosen = choose(project, connection_ids)
    try:
        prose = estimate_prose(project, chosen.warehouses, is_quick=True) if chosen.warehouses else ()
        has_model = project.config.llm.provider.backend != "none"
        sources = foresee_sources(project, chosen.sources) if chosen.sources and has_model else ()
    except OutsideError:
        return  # the ingest itself names the connection that fails, and does the others
    if any(one.calls for one in (*prose, *sources)):
        say((estimate_text(prose) + source_estimate_text(sources)).rstrip())
        click.confirm("Ask the model?", default=True, abort=True, err=True)
