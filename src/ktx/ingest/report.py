"""What an ingest did, per connection, as values that the command line draws and `--json` prints."""

from dataclasses import dataclass, field
from typing import Literal

from ktx.catalog import Relationship
from ktx.files import digest
from ktx.findings import Finding

StepStatus = Literal["done", "skipped", "failed", "not-run"]
TargetStatus = Literal["done", "failed"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stage of one connection. `detail` is a plain line."""

    operation: str
    status: StepStatus
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Link:
    """A relationship as people read it: `flights.carrier -> airlines.carrier`, with its reasons in one line."""

    id: str
    text: str
    cardinality: str
    origin: str
    decision: str
    score: float
    evidence: str

    @classmethod
    def of(cls, one: Relationship, *, source: str, target: str) -> "Link":
        """Describe a relationship under the source names of the layer."""
        return cls(
            id=link_id(one),
            text=link_text(one, source=source, target=target),
            cardinality=one.cardinality,
            origin=one.origin,
            decision=one.decision,
            score=one.score,
            evidence="; ".join(reason.detail for reason in one.evidence),
        )


def link_text(one: Relationship, *, source: str, target: str) -> str:
    """Write a relationship in one line."""

    def side(name: str, columns: tuple[str, ...]) -> str:
        return f"{name}.{columns[0]}" if len(columns) == 1 else f"{name}.({', '.join(columns)})"

    text = f"{side(source, one.source_columns)} -> {side(target, one.target_columns)}"
    return f"{text} where {one.condition[0]} = '{one.condition[1]}'" if one.condition else text


def link_id(one: Relationship) -> str:
    """Give a relationship's short id: eight hex digits over its physical names, the same on every run."""
    text = f"{one.source}({','.join(one.source_columns)})->{one.target}({','.join(one.target_columns)})"
    return digest(f"{text}[{one.condition[0]}={one.condition[1]}]" if one.condition else text)[:8]


@dataclass(frozen=True, kw_only=True)
class ConnectionReport:
    """One connection's part. `error` is set when it failed; nothing of it was written then."""

    connection_id: str
    driver: str
    status: TargetStatus
    steps: tuple[Step, ...] = ()
    tables: int = 0
    columns: int = 0
    rows: int = 0
    keys: tuple[str, ...] = ()
    joins: tuple[Link, ...] = ()
    review: tuple[Link, ...] = ()
    dropped: tuple[Link, ...] = ()
    unasked: tuple[str, ...] = ()
    unprofiled: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    undescribed: tuple[str, ...] = ()
    unproposed: tuple[str, ...] = ()
    model_calls: int = 0
    measures: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    changed_files: tuple[str, ...] = ()
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Something done for all connections together that failed: `commit` or `index`."""

    what: str
    message: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """The whole run. `commit` is None when no byte changed, or when `failures` says why there is none."""

    connections: tuple[ConnectionReport, ...]
    commit: str | None = None
    indexed: str = ""
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0
    plan: tuple[str, ...] = field(default_factory=tuple[str, ...])

    @property
    def exit_code(self) -> int:
        """0 when every connection is done; else the failures' own code, or 1 when they differ; 3 when a model failed."""
        codes = {one.exit_code for one in self.connections if one.status == "failed"}
        codes |= {one.exit_code for one in self.failures}
        codes |= {3 for one in self.connections if one.undescribed or one.unproposed}
        return codes.pop() if len(codes) == 1 else 1 if codes else 0
