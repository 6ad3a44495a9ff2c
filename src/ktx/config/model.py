"""ktx.yaml as one typed value. Nothing here reads files or resolves references."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, StringConstraints, WithJsonSchema

from ktx.config.block import Block, CamelBlock, Inert, Names, SecretText, keys
from ktx.config.connections import Connection

BackendName: TypeAlias = Literal["none", "anthropic", "vertex", "gateway", "claude-code", "codex"]
ROLES = ("default", "triage", "candidateExtraction", "curator", "reconcile", "repair")
"""The jobs that ktx asks a model to do, by their key in `llm.models`."""
Ttl: TypeAlias = Literal["5m", "1h"]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class ApiAccess(Block):
    """How an API is reached."""

    api_key: SecretText | None = Field(default=None, description="Key, best as `env:NAME`.")
    base_url: str | None = Field(default=None, description="Address, if not the vendor's own.")


class GatewayAccess(ApiAccess):
    """How a gateway is reached; gateways differ in the headers they read."""

    anthropic_version: str = Field(
        default="2023-06-01", description="Value of the `anthropic-version` header."
    )
    auth: Literal["both", "bearer", "x-api-key"] = Field(
        default="both", description="Header that carries the key: `Authorization`, `x-api-key`, or both."
    )


class VertexAccess(Block):
    """How Vertex AI is reached; credentials are Google's application default ones."""

    project: str | None = Field(
        default=None, description="Project that pays; the credentials' own if absent."
    )
    location: str | None = Field(default=None, description="Region, for instance `us-east5`, or `global`.")
    base_url: str | None = Field(
        default=None, description="Address of a private endpoint, if not Google's own."
    )


class LlmProvider(CamelBlock):
    """Which backend answers, and how it is reached."""

    backend: BackendName = Field(default="none", description="Who answers; `none` turns language models off.")
    anthropic: ApiAccess = Field(
        default_factory=ApiAccess, description="Anthropic's API; the key defaults to `env:ANTHROPIC_API_KEY`."
    )
    vertex: VertexAccess = Field(default_factory=VertexAccess, description="Vertex AI.")
    gateway: GatewayAccess = Field(
        default_factory=GatewayAccess, description="Any Anthropic-compatible gateway."
    )


class ModelChoice(Block):
    """One model for a role. Without a backend it is the provider's."""

    model: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="Alias or full model id, as the backend names it."
    )
    backend: BackendName | None = Field(default=None, description="Another backend than the provider's.")


def _as_chain(value: object) -> object:
    choices = cast("list[object]", value) if isinstance(value, list | tuple) else [value]
    return tuple({"model": choice} if isinstance(choice, str) else choice for choice in choices)


_CHOICE_SCHEMA: dict[str, object] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "properties": {
                "backend": {"enum": ["none", "anthropic", "vertex", "gateway", "claude-code", "codex"]},
                "model": {"type": "string", "minLength": 1},
            },
            "required": ["model"],
        },
    ]
}
ModelChain: TypeAlias = Annotated[
    tuple[ModelChoice, ...],
    BeforeValidator(_as_chain),
    WithJsonSchema({"anyOf": [*_CHOICE_SCHEMA["anyOf"], {"type": "array", "items": _CHOICE_SCHEMA}]}),  # pyright: ignore[reportGeneralTypeIssues]
]
"""Models tried in order; written as a name, as `{backend, model}`, or as a list of either."""


class RoleModels(CamelBlock):
    """Which model does which job; an empty chain means that of `default`."""

    default: ModelChain = Field(default=(), description="Every job without a model of its own.")
    triage: ModelChain = Field(default=(), description="Quick decisions about what is worth reading.")
    candidate_extraction: ModelChain = Field(
        default=(), description="Descriptions and facts from one document."
    )
    curator: ModelChain = Field(default=(), description="Writing sources, measures and pages.")
    reconcile: ModelChain = Field(default=(), description="Settling contradictions between proposals.")
    repair: ModelChain = Field(default=(), description="Fixing malformed output.")


class PromptCaching(CamelBlock):
    """How prompts are cached where the backend lets ktx decide. Absent keys mean ktx's own choice."""

    enabled: bool = Field(default=True, description="Mark prompts for caching.")
    system_ttl: Ttl | None = Field(default=None, description="How long instructions are kept.")
    tools_ttl: Ttl | None = Field(default=None, description="How long tool definitions are kept.")
    history_ttl: Ttl | None = Field(default=None, description="How long the conversation is kept.")
    vertex_fallback_to_5m: bool = Field(
        default=True,
        validation_alias=keys("vertexFallbackTo5m", "vertex_fallback_to_5m"),
        description="Use `5m` where Vertex refuses `1h`.",
    )


class Budget(CamelBlock):
    """A limit after which no further model call is made."""

    usd: float | None = Field(default=None, gt=0, description="Most dollars.")
    tokens: PositiveInt | None = Field(default=None, description="Most tokens, in and out.")
    per: Literal["run", "day"] = Field(default="run", description="What the limit is counted over.")


class LlmConfig(CamelBlock):
    """Language models: who answers, which model does which job, what may be spent."""

    provider: LlmProvider = Field(default_factory=LlmProvider, description="Who answers.")
    models: RoleModels = Field(default_factory=RoleModels, description="Which model does which job.")
    prompt_caching: PromptCaching = Field(default_factory=PromptCaching, description="What is cached.")
    budget: Budget | None = Field(default=None, description="What may be spent.")


class EmbeddingsOpenai(Block):
    """An OpenAI-compatible embeddings API."""

    api_key: SecretText | None = Field(default=None, description="Key, best as `env:NAME`.")
    base_url: str | None = Field(default=None, description="Address, if not the vendor's own.")


class EmbeddingsServer(CamelBlock):
    """A server of sentence-transformers models with an OpenAI-compatible API; without an address the model runs in this process."""

    base_url: str | None = Field(default=None, description="Address of the server.")
    path_prefix: str = Field(
        default="", description="What stands between the address and `/embeddings`, such as `/v1`."
    )


class Embeddings(CamelBlock):
    """Vectors for search by meaning."""

    backend: Literal["auto", "none", "openai", "sentence-transformers"] = Field(
        default="auto",
        description="Who computes them; `auto` is the local model where it is installed, and else nobody.",
    )
    model: str | None = Field(default=None, description="Name of the embedding model.")
    dimensions: Annotated[PositiveInt | None, Inert(reason="the length of a vector is measured")] = Field(
        default=None, description="Length of a vector."
    )
    batch_size: PositiveInt | None = Field(default=None, description="Texts per call of a server.")
    openai: EmbeddingsOpenai = Field(default_factory=EmbeddingsOpenai, description="For `openai`.")
    sentence_transformers: EmbeddingsServer = Field(
        default_factory=EmbeddingsServer, description="For `sentence-transformers`."
    )


class WorkUnits(CamelBlock):
    """How the work of an ingest is divided."""

    step_budget: PositiveInt = Field(default=40, description="Most tool calls of one unit.")
    max_concurrency: PositiveInt = Field(default=1, description="Units at work at once.")
    failure_mode: Annotated[
        Literal["abort", "continue"], Inert(reason="a failing unit is set aside and the rest goes on")
    ] = Field(default="continue", description="What a failing unit does to the rest.")


class Retry(CamelBlock):
    """How failed model calls are repeated."""

    max_attempts: PositiveInt = Field(default=6, description="Tries in all.")
    base_delay_ms: NonNegativeInt = Field(default=1000, description="First wait; it doubles.")
    max_delay_ms: NonNegativeInt = Field(default=60_000, description="Longest wait between two tries.")
    jitter: bool = Field(
        default=True, description="Spread the waits, so that callers do not return together."
    )


class RateLimit(CamelBlock):
    """How ktx slows down before a provider makes it."""

    enabled: bool = Field(default=True, description="Slow down when the provider's limits come near.")
    throttle_threshold: Share = Field(default=0.8, description="Share of a limit from which fewer calls run.")
    min_concurrency_under_pressure: PositiveInt = Field(default=1, description="Calls that still run then.")
    max_wait_ms: PositiveInt | None = Field(default=None, description="Longest wait for a limit to reset.")
    retry: Retry = Field(default_factory=Retry, description="Repeating failed calls.")


class IngestConfig(CamelBlock):
    """How context is taken in."""

    adapters: Annotated[Names, Inert(reason="what is read follows from `connections`")] = Field(
        default=(), description="Kinds of context sources that are allowed."
    )
    embeddings: Embeddings = Field(default_factory=Embeddings, description="Vectors for search by meaning.")
    work_units: WorkUnits = Field(default_factory=WorkUnits, description="How work is divided.")
    rate_limit: RateLimit = Field(default_factory=RateLimit, description="Pacing of model calls.")
    profile: bool | Literal["json"] = Field(default=False, description="Report where the time of a run went.")


class RunResearch(Block):
    """A research agent of other programs."""

    enabled: bool = Field(default=False, description="Whether it is offered.")
    max_iterations: PositiveInt = Field(default=20, description="Most rounds.")
    default_toolset: Names = Field(
        default=("sl_query", "wiki_search", "sl_read_source"), description="Tools that it has."
    )


class AgentConfig(Block):
    """Settings for agents that run inside ktx."""

    run_research: Annotated[
        RunResearch, Inert(reason="ktx serves agents over MCP and runs none of its own")
    ] = Field(default_factory=RunResearch, description="A research agent.")


class Enrichment(CamelBlock):
    """What a scan adds to the bare structure."""

    mode: Literal["none", "deterministic", "llm"] = Field(
        default="none",
        description="`llm` writes descriptions with a model; the others need none and give the same result.",
    )
    embeddings: Annotated[Embeddings | None, Inert(reason="`ingest.embeddings` holds for scans as well")] = (
        Field(default=None, description="Other vectors than those of `ingest.embeddings`.")
    )


class Relationships(CamelBlock):
    """How joins are found where the database declares none."""

    enabled: bool = Field(default=True, description="Look for undeclared joins.")
    llm_proposals: bool = Field(
        default=True, description="Let a model propose joins; each is checked on the data."
    )
    validation_required_for_manifest: bool = Field(
        default=True, description="Write only joins that the data bears out."
    )
    accept_threshold: Share = Field(default=0.85, description="Confidence from which a join is written.")
    review_threshold: Share = Field(default=0.55, description="Confidence from which a join is reported.")
    max_llm_tables_per_batch: PositiveInt = Field(default=40, description="Tables shown to a model at once.")
    max_candidates_per_column: PositiveInt = Field(
        default=25, description="Targets considered for one column."
    )
    profile_sample_rows: PositiveInt = Field(default=10_000, description="Rows read to profile one table.")
    profile_concurrency: PositiveInt = Field(default=4, description="Tables profiled at once.")
    validation_concurrency: PositiveInt = Field(default=4, description="Joins checked at once.")
    validation_budget: Literal["all"] | NonNegativeInt | None = Field(
        default=None,
        description="Most queries to check joins on data; twice the tables, at most 1000, if absent.",
    )
    detection_budget_ms: PositiveInt = Field(default=600_000, description="Longest search for joins.")


class ScanConfig(CamelBlock):
    """How a warehouse is read."""

    enrichment: Enrichment = Field(default_factory=Enrichment, description="Descriptions.")
    relationships: Relationships = Field(default_factory=Relationships, description="Joins.")
    samples: Literal["none", "masked", "full"] = Field(
        default="masked", description="Which sampled values a model may see; `masked` hides personal ones."
    )


class GitConfig(Block):
    """How changes are recorded."""

    author: Annotated[str, StringConstraints(pattern=r"^[^<>\n]+ <[^<>\n]+>$")] = Field(
        default="ktx <ktx@example.com>", description="Author of ktx's commits, as `Name <mail>`."
    )


class StorageConfig(Block):
    """Where things are kept."""

    state: Annotated[Literal["sqlite", "postgres"], Inert(reason="state is SQLite in `.ktx/`")] = Field(
        default="sqlite", description="Where runs are recorded."
    )
    search: Annotated[
        Literal["sqlite-fts5", "postgres-hybrid"], Inert(reason="the index is SQLite in `.ktx/`")
    ] = Field(default="sqlite-fts5", description="Where the search index is.")
    git: GitConfig = Field(default_factory=GitConfig, description="The project's repository.")


class SetupConfig(Block):
    """What setup was told."""

    database_connection_ids: Names = Field(default=(), description="The warehouses that matter most.")


class KtxConfig(Block):
    """The whole of ktx.yaml."""

    setup: SetupConfig = Field(default_factory=SetupConfig, description="What setup was told.")
    connections: Mapping[str, Connection] = Field(
        default_factory=dict[str, Connection], description="Warehouses and context sources, by id."
    )
    llm: LlmConfig = Field(default_factory=LlmConfig, description="Language models.")
    scan: ScanConfig = Field(default_factory=ScanConfig, description="How a warehouse is read.")
    ingest: IngestConfig = Field(default_factory=IngestConfig, description="How context is taken in.")
    storage: StorageConfig = Field(default_factory=StorageConfig, description="Where things are kept.")
    agent: AgentConfig = Field(default_factory=AgentConfig, description="Agents inside ktx.")
