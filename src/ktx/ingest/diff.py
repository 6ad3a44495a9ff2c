"""What a run, a commit, or what is not committed yet changes: definitions, pages, and the values of metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ktx.errors import ConfigError, OutsideError, UsageError
from ktx.events import Emit, ignore
from ktx.git import Change, Repository
from ktx.ingest.definitions import DefinitionChange, layer_changes, page_changes
from ktx.ingest.metric_values import MOST_MEASURES, ConnectionValues, compare_values
from ktx.ingest.recall import LAST, KnownRun, find_run, list_runs
from ktx.ingest.trees import EMPTY, Tree, tree_at, tree_on_disk
from ktx.project import Project, find_repository, warehouse_connection
from ktx.semantic.source import Layer
from ktx.suggest import did_you_mean
from ktx.warehouse.connect import open_warehouse

_BETWEEN: Final = ".."


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What is compared. `before` None is the time before the first commit, `after` None the files on disk."""

    title: str
    before: str | None
    after: str | None
    run: KnownRun | None = None
    commit: Change | None = None
    is_empty: bool = False
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class LayerDiff:
    """The difference of the layer between two moments. `values` is None when nobody wanted them.

    `files` are those whose text differs, also where that means nothing: layout, comments, provenance.
    """

    moments: Moments
    definitions: tuple[DefinitionChange, ...]
    files: tuple[str, ...]
    values: tuple[ConnectionValues, ...] | None
    notes: tuple[str, ...] = ()

    @property
    def has_changes(self) -> bool:
        """Whether any definition or page differs."""
        return bool(self.definitions)


def diff_layer(
    project: Project,
    target: str | None = None,
    *,
    connection_id: str | None = None,
    wants_values: bool = True,
    most_measures: int = MOST_MEASURES,
    emit: Emit = ignore,
) -> LayerDiff:
    """Compare the layer around a run (its id, the beginning of it, or `last`), a commit, or two as `A..B`.

    Without a target the files are compared with the last commit; where nothing is uncommitted, the last run that committed is
    shown. With `connection_id` only the sources of that connection are compared, and no pages.

    Raises:
        UsageError: there is no such run, commit or connection.
        ConfigError: the project is in no git repository, or git cannot be used.
    """
    repository = find_repository(project)
    if repository is None:
        raise ConfigError(
            f"`{project.root}` is in no git repository, so there is nothing to compare with.",
            hint="`ktx admin init --force` makes one.",
        )
    moments = _moments(project, repository, target)
    before, after = _trees(project, repository, moments)
    names = _connections(before, after, project, connection_id)
    definitions: list[DefinitionChange] = []
    values: list[ConnectionValues] = []
    for name in names:
        files = (before.files.get(name, ()), after.files.get(name, ()))
        if files[0] == files[1]:
            continue
        layers = (before.layer(name), after.layer(name))
        definitions += layer_changes(*layers, files)
        if wants_values and name in project.warehouses:
            room = most_measures - sum(len(one.changes) for one in values)
            values.append(_values(project, name, layers, most=room, emit=emit))
        elif wants_values:
            reason = "ktx.yaml has no database of that name"
            values.append(ConnectionValues(connection_id=name, is_asked=False, reason=reason))
    if connection_id is None:
        definitions += page_changes(before, after)
    return LayerDiff(
        moments=moments,
        definitions=tuple(definitions),
        files=_files(before, after, connection_id),
        values=tuple(values) if wants_values else None,
        notes=(moments.note,) if moments.note else (),
    )


def diff_json(diff: LayerDiff) -> dict[str, object]:
    """Give a difference as JSON."""
    at = diff.moments
    return {
        "title": at.title,
        "before": at.before,
        "after": at.after,
        "run": at.run.id if at.run else None,
        "source": at.run.source if at.run else None,
        "definitions": [
            {
                "kind": one.noun,
                "change": one.sign,
                "connectionId": one.connection_id or None,
                "source": one.target if one.noun != "page" else None,
                "page": one.target if one.noun == "page" else None,
                "name": one.name or None,
                "facts": {fact.name: {"before": fact.before, "after": fact.after} for fact in one.facts},
            }
            for one in diff.definitions
        ],
        "files": list(diff.files),
        "values": None if diff.values is None else [_values_json(one) for one in diff.values],
        "notes": list(diff.notes),
    }


def _values_json(one: ConnectionValues) -> Mapping[str, object]:
    return {
        "connectionId": one.connection_id,
        "asked": one.is_asked,
        "reason": one.reason,
        "measures": [
            {
                "measure": change.measure,
                "status": change.status,
                "before": change.before,
                "after": change.after,
                "difference": change.difference,
                "percent": change.percent,
            }
            for change in one.changes
        ],
        "sameSql": one.same_sql,
        "leftOut": list(one.left_out),
    }


# ---- what is compared


def _moments(project: Project, repository: Repository, target: str | None) -> Moments:
    if target is None:
        return _unnamed(project, repository)
    first, between, second = target.partition(_BETWEEN)
    if between:
        before = _commit(repository, first.strip() or "HEAD")
        after = _commit(repository, second.lstrip(".").strip() or "HEAD")
        return Moments(title=f"from {before[:10]} to {after[:10]}", before=before, after=after)
    run = find_run(project, target)
    if run is not None:
        return _of_run(repository, run)
    if target == LAST:
        raise UsageError("There is no run yet.", hint="`ktx diff` alone shows what is not committed.")
    return _of_commit(repository, _commit(repository, target))


def _unnamed(project: Project, repository: Repository) -> Moments:
    head = repository.head()
    if tree_at(project, repository, head).texts != tree_on_disk(project).texts:
        return Moments(title="not committed yet", before=head, after=None)
    run = next((run for run in list_runs(project, limit=1000) if run.commit is not None), None)
    if run is not None:
        return _of_run(repository, run)
    change = repository.last_change(project.semantic_dir)
    if change is not None:
        return _of_commit(repository, change.commit)
    return Moments(
        title="nothing", before=None, after=None, is_empty=True, note="No commit has touched the layer yet."
    )


def _of_run(repository: Repository, run: KnownRun) -> Moments:
    title = f"run {run.id} of {run.source}"
    if run.commit is None:
        why = {"running": "is still going on", "done": "changed nothing"}.get(run.status, "committed nothing")
        return Moments(
            title=title, before=None, after=None, run=run, is_empty=True, note=f"Run `{run.id}` {why}."
        )
    commit = run.commit.commit
    return Moments(
        title=title, before=repository.resolve(f"{commit}^"), after=commit, run=run, commit=run.commit
    )


def _of_commit(repository: Repository, commit: str) -> Moments:
    return Moments(
        title=f"commit {commit[:10]}",
        before=repository.resolve(f"{commit}^"),
        after=commit,
        commit=repository.change(commit),
    )


def _commit(repository: Repository, revision: str) -> str:
    commit = repository.resolve(revision)
    if commit is None:
        raise UsageError(
            f"There is no run and no commit `{revision[:80]}`.",
            hint="`ktx runs list` names the runs, `git log` the commits; `A..B` compares two commits.",
        )
    return commit


def _trees(project: Project, repository: Repository, moments: Moments) -> tuple[Tree, Tree]:
    if moments.is_empty:
        return EMPTY, EMPTY
    before = tree_at(project, repository, moments.before)
    if moments.after is None:
        return before, tree_on_disk(project)
    return before, tree_at(project, repository, moments.after)


def _connections(before: Tree, after: Tree, project: Project, wanted: str | None) -> list[str]:
    known = sorted(before.files.keys() | after.files.keys())
    if wanted is None:
        return known
    if wanted not in known and wanted not in project.config.connections:
        names = {*known, *project.warehouses}
        raise UsageError(f"There is no connection `{wanted[:80]}`.{did_you_mean(wanted, names)}")
    return [wanted] if wanted in known else []


def _files(before: Tree, after: Tree, connection_id: str | None) -> tuple[str, ...]:
    paths = sorted(before.texts.keys() | after.texts.keys())
    differing = [
        path
        for path in paths
        if (path in before.texts) != (path in after.texts) or before.texts[path] != after.texts[path]
    ]
    beginning = "" if connection_id is None else f"semantic-layer/{connection_id}/"
    return tuple(path for path in differing if path.startswith(beginning))


# ---- values


def _values(
    project: Project, name: str, layers: tuple[Layer, Layer], *, most: int, emit: Emit
) -> ConnectionValues:
    try:
        opened = open_warehouse(name, warehouse_connection(project, name), project.root)
    except (ConfigError, OutsideError) as error:
        return ConnectionValues(connection_id=name, is_asked=False, reason=error.message)
    with opened as warehouse:
        return compare_values(*layers, warehouse, most=most, emit=emit)
