"""The answer of `ktx status`, as people's scripts read it."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from ktx.status.check import Capability, Status

Verdict: TypeAlias = Literal["ready", "partial", "blocked"]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class Issue(_Answer):
    """One remark about ktx.yaml."""

    path: str | None
    line: int | None
    message: str
    fix: str | None
    severity: Literal["error", "warning", "note"]


class Part(_Answer):
    """How one part of the project stands."""

    status: Status
    detail: str
    fix: str | None = None


class ConfigPart(Part):
    """ktx.yaml."""

    issues: tuple[Issue, ...] = ()


class LlmPart(Part):
    """The language model."""

    backend: str
    model: str | None


class EmbeddingsPart(Part):
    """Search by meaning."""

    backend: str
    model: str | None
    dimensions: int | None


class StoragePart(_Answer):
    """Where things are kept."""

    state: str
    search: str
    git_author: str


class ConnectionPart(Part):
    """One connection."""

    name: str
    driver: str


class CheckPart(Part):
    """One check, as it was made."""

    id: str
    subject: str | None = None


class CapabilityPart(_Answer):
    """Whether one thing can be done, and why not."""

    verdict: Verdict
    reason: str


class WarningPart(_Answer):
    """Something to put right some time."""

    message: str
    fix: str | None


class LocalStats(_Answer):
    """What is there on disk."""

    wiki_pages: int
    semantic_layer: Mapping[str, int]
    state_bytes: int


class PipelinePart(_Answer):
    """How context is made."""

    adapters: tuple[str, ...]
    enrichment_mode: str
    samples: str
    relationships: bool


class StatusReport(_Answer):
    """Everything that `ktx status` found."""

    project_name: str
    project_dir: str
    config: ConfigPart
    llm: LlmPart
    embeddings: EmbeddingsPart
    storage: StoragePart
    connections: tuple[ConnectionPart, ...]
    pipeline: PipelinePart
    warnings: tuple[WarningPart, ...]
    local_stats: LocalStats
    checks: tuple[CheckPart, ...]
    capabilities: Mapping[Capability, CapabilityPart]
    verdict: Verdict
    verdict_reason: str
    next_actions: tuple[str, ...]
