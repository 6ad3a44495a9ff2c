"""Descriptions as a part of an ingest: whether they are wanted, what they would cost, and asking for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ktx.catalog import Catalog, TableRef
from ktx.errors import ConfigError
from ktx.events import Emit, ignore
from ktx.ingest import manifests
from ktx.ingest.history import HistoryChoice, history_settings, observe
from ktx.ingest.settings import scan_settings
from ktx.llm.connect import open_runtime, read_roles
from ktx.llm.messages import Usage
from ktx.llm.prices import AS_OF, cost_usd
from ktx.llm.roles import Choice
from ktx.llm.runtime import Runtime
from ktx.project import Project, ensure_state_dir, warehouse_connection, warehouse_ids
from ktx.scan.describe import ROLE, Described, Estimate, describe_tables, estimate
from ktx.scan.narrate import Narrated, narrate_usage
from ktx.scan.propose import Asking, Proposed, estimate_proposals, propose_links
from ktx.scan.reading import ObservedJoin
from ktx.scan.relationships.find import Found
from ktx.scan.run import ScanReport, scan_connection
from ktx.scan.store import ScanStore, open_store
from ktx.semantic.merge import Descriptions, read_decisions
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.warehouse import Warehouse

NOTHING = Estimate(calls=0, input_tokens=0, output_tokens=0)


@dataclass(frozen=True, kw_only=True)
class ProseEstimate:
    """What asking a model about one connection would take. `cost_usd` is None for a model without a listed price.

    `proposal_calls` are those of all `calls` that ask for references of tables which names and values leave alone. Where the data
    was not looked at they are not known: `most_proposal_calls` may then come on top.
    """

    connection_id: str
    model: str | None
    calls: int = 0
    proposal_calls: int = 0
    most_proposal_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    prices_as_of: str = AS_OF
    reason: str = ""


def wanted_model(project: Project) -> Choice | str:
    """Give the model that describes, or why none does."""
    if project.config.scan.enrichment.mode != "llm":
        return "`scan.enrichment.mode` is not `llm`"
    if project.config.llm.provider.backend == "none":
        return "no language model is configured"
    return read_roles(project.config.llm).chain(ROLE)[0]


def describe_connection(
    project: Project, connection_id: str, catalog: Catalog, store: ScanStore, choice: Choice, *, emit: Emit
) -> Described:
    """Describe the tables of a connection that nothing kept describes yet."""
    connection = warehouse_connection(project, connection_id)
    with open_warehouse(connection_id, connection, project.root) as warehouse:
        return describe_tables(
            catalog,
            store,
            open_extractor=_extractor(project, emit),
            model=str(choice),
            samples=project.config.scan.samples,
            sample=warehouse.sample_rows,
            emit=emit,
        )


def proposed_links(
    project: Project,
    warehouse: Warehouse,
    catalog: Catalog,
    found: Found,
    store: ScanStore,
    choice: Choice,
    *,
    emit: Emit,
) -> Proposed:
    """Ask the model for references of tables to which names and values gave none."""
    return propose_links(
        catalog,
        found,
        store,
        Asking(
            open_extractor=_extractor(project, emit),
            model=str(choice),
            samples=project.config.scan.samples,
            sample=warehouse.sample_rows,
            tables_per_batch=project.config.scan.relationships.max_llm_tables_per_batch,
        ),
        emit=emit,
    )


def usage_in_words(
    project: Project, usage: Mapping[str, Mapping[str, object]], store: ScanStore, *, emit: Emit
) -> Narrated:
    """Have the model of the role say what people ask of each source, as past queries show it.

    Raises:
        ConfigError: no language model is configured.
    """
    if project.config.llm.provider.backend == "none":
        raise ConfigError(
            "Usage in words needs a language model, and none is configured.",
            hint="Run `ktx setup`, or leave `--query-history-narrative` out.",
        )
    return narrate_usage(
        usage,
        store,
        open_extractor=_extractor(project, emit),
        model=str(read_roles(project.config.llm).chain(ROLE)[0]),
        emit=emit,
    )


def _extractor(project: Project, emit: Emit) -> Callable[[], Runtime]:
    state_dir = ensure_state_dir(project)
    return lambda: open_runtime(
        project.config.llm,
        project_dir=project.root,
        state_dir=state_dir,
        emit=emit,
        rate_limit=project.config.ingest.rate_limit,
    )


def merged_texts(described: Described) -> dict[TableRef, Descriptions]:
    """Give a model's texts as the manifest takes them."""
    return {
        ref: Descriptions(table=texts.table, columns=texts.columns) for ref, texts in described.texts.items()
    }


def estimate_prose(
    project: Project,
    connection_ids: Sequence[str] = (),
    *,
    history: HistoryChoice | None = None,
    is_quick: bool = False,
    emit: Emit = ignore,
) -> tuple[ProseEstimate, ...]:
    """Foresee calls, tokens and money of an ingest's descriptions and proposed references.

    Tables are profiled and relationships sought as the ingest will do it, because only that shows which tables a model is asked
    about; `is_quick` leaves that out and gives a bound. No model is asked, and nothing is written.

    Raises:
        ConfigError: an id is unknown.
        WarehouseError: a database cannot be reached.
    """
    chosen = tuple(dict.fromkeys(connection_ids)) or warehouse_ids(project)
    for connection_id in chosen:
        warehouse_connection(project, connection_id)
    choice = wanted_model(project)
    if isinstance(choice, str):
        return tuple(
            ProseEstimate(connection_id=one, model=None, reason=choice, cost_usd=0.0) for one in chosen
        )
    with open_store(ensure_state_dir(project)) as store:
        return tuple(
            _quick_estimate(project, one, store, choice)
            if is_quick
            else _estimate(project, one, store, choice, history or HistoryChoice(), emit)
            for one in chosen
        )


def _quick_estimate(project: Project, connection_id: str, store: ScanStore, choice: Choice) -> ProseEstimate:
    connection = warehouse_connection(project, connection_id)
    with open_warehouse(connection_id, connection, project.root) as warehouse:
        catalog = warehouse.read_catalog()
        texts = estimate(
            catalog,
            store,
            model=str(choice),
            samples=project.config.scan.samples,
            sample=warehouse.sample_rows,
        )
    asked = project.config.scan.relationships
    batches = -(-len(catalog.tables) // asked.max_llm_tables_per_batch)
    most = batches if texts.calls and asked.llm_proposals else 0
    return _foreseen(connection_id, choice, texts, most_proposal_calls=most)


def _estimate(
    project: Project,
    connection_id: str,
    store: ScanStore,
    choice: Choice,
    history: HistoryChoice,
    emit: Emit,
) -> ProseEstimate:
    connection = warehouse_connection(project, connection_id)
    model, samples = str(choice), project.config.scan.samples
    proposals = NOTHING
    with open_warehouse(connection_id, connection, project.root) as warehouse:
        if project.config.scan.relationships.llm_proposals:
            scan = _structure(project, warehouse, history, emit)
            catalog = scan.catalog
            proposals = estimate_proposals(
                catalog,
                scan.found,
                store,
                model=model,
                samples=samples,
                sample=warehouse.sample_rows,
                tables_per_batch=project.config.scan.relationships.max_llm_tables_per_batch,
            )
        else:
            catalog = warehouse.read_catalog()
        texts = estimate(catalog, store, model=model, samples=samples, sample=warehouse.sample_rows)
    return _foreseen(connection_id, choice, texts, proposals)


def _foreseen(
    connection_id: str,
    choice: Choice,
    texts: Estimate,
    proposals: Estimate = NOTHING,
    *,
    most_proposal_calls: int = 0,
) -> ProseEstimate:
    input_tokens = texts.input_tokens + proposals.input_tokens
    output_tokens = texts.output_tokens + proposals.output_tokens
    usage = Usage(uncached_input_tokens=input_tokens, output_tokens=output_tokens)
    return ProseEstimate(
        connection_id=connection_id,
        model=str(choice),
        calls=texts.calls + proposals.calls,
        proposal_calls=proposals.calls,
        most_proposal_calls=most_proposal_calls,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=cost_usd(choice.model, usage),
    )


def _structure(project: Project, warehouse: Warehouse, history: HistoryChoice, emit: Emit) -> ScanReport:
    """Scan as an ingest does, up to where it would ask a model."""
    shards = manifests.read_shards(project.semantic_dir, warehouse.connection_id)
    wanted = history_settings(project, warehouse.connection_id, history)

    def seen(catalog: Catalog) -> Sequence[ObservedJoin]:
        past = wanted if isinstance(wanted, str) else observe(warehouse, catalog, wanted, emit=emit)
        return () if isinstance(past, str) else past.joins

    return scan_connection(
        warehouse,
        settings=scan_settings(project),
        decided=read_decisions(shards.values()),
        observe=seen,
        emit=emit,
    )
