"""The YAML of semantic sources, key by key: strict models of what a person or a program may write.

A source file is either a standalone source (it has `table` or `sql`) or an overlay on the manifest table of the same
name. Keys that only describe (`tags`, `freshness`, `tests`, …) are accepted because projects carry them; the compiler
reads none of them.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ktx.catalog import Cardinality, ColumnKind
from ktx.semantic.source import ColumnRole, Visibility

Scalar = str | int | float | bool


class Strict(BaseModel):
    """A part of a file: unknown keys are errors; a bare number is welcome where text is expected."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Constraints(Strict):
    """What a tool asserts about a column."""

    not_null: bool | None = None
    unique: bool | None = None


class ColumnTest(Strict):
    """One test that a tool runs on a column."""

    name: str
    package: str | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)


class ColumnTests(Strict):
    """The tests on a column, by tool."""

    dbt: list[ColumnTest] = Field(default_factory=list[ColumnTest])
    dbt_by_package: dict[str, Any] = Field(default_factory=dict)


class ColumnFacts(Strict):
    """What may be said about a column besides its name and its expression."""

    type: ColumnKind | None = Field(default=None, description="`string`, `number`, `time` or `boolean`")
    role: ColumnRole | None = Field(
        default=None, description="`time` marks a time column whatever its type; else `default`"
    )
    visibility: Visibility | None = Field(
        default=None,
        description="`public` (default), `internal` (usable inside the layer's own expressions), `hidden` (unusable)",
    )
    description: str | None = Field(default=None, description="short for `descriptions: {user: …}`")
    descriptions: dict[str, str] = Field(
        default_factory=dict, description="text by author: user, dbt, ai, db"
    )
    natural_granularity: str | None = Field(
        default=None, description="the finest granularity the values carry"
    )
    constraints: dict[str, Constraints] = Field(default_factory=dict, description="by tool; describes only")
    enum_values: dict[str, list[Scalar]] = Field(default_factory=dict, description="by tool; describes only")
    tests: ColumnTests | None = Field(default=None, description="describes only")


class ColumnEntry(ColumnFacts):
    """A column: physical, or computed when `expr` is given."""

    name: str = Field(description="unqualified; the physical name, unless `expr` is given")
    expr: str | None = Field(
        default=None, description="computed from other columns, in the warehouse's own SQL"
    )

    @field_validator("name")
    @classmethod
    def _name_is_not_blank(cls, name: str) -> str:
        return _filled(name)


class ColumnOverride(ColumnFacts):
    """What an overlay changes about a column of the manifest table."""

    name: str


class NonAdditiveEntry(Strict):
    """The one time over which a measure may not be added up, as balances and stock may not."""

    dimension: str = Field(description="a time column of the source")
    window: Literal["min", "max"] = Field(default="max", description="which moment of each period counts")


class MeasureEntry(Strict):
    """An aggregate that questions can name."""

    name: str
    expr: str = Field(description="an aggregate, or an expression over measures")
    filter: str | None = Field(default=None, description="rows that count, in the warehouse's own SQL")
    segments: list[str] = Field(default_factory=list, description="segments of the same source, by bare name")
    time_dimension: str | None = Field(default=None, description="the column that `metric_time` means for it")
    non_additive: NonAdditiveEntry | None = Field(
        default=None, description="the time over which it may not be added up: `{dimension, window: min|max}`"
    )
    description: str | None = None
    descriptions: dict[str, str] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _name_is_not_blank(cls, name: str) -> str:
        return _filled(name)


class SegmentEntry(Strict):
    """A named row filter."""

    name: str
    expr: str
    description: str | None = None
    descriptions: dict[str, str] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _name_is_not_blank(cls, name: str) -> str:
        return _filled(name)


class JoinEntry(Strict):
    """A way from this source to another one."""

    to: str = Field(description="the exact name of a source")
    on: str = Field(description="the whole join condition; columns are qualified by source name or alias")
    relationship: Cardinality
    alias: str | None = Field(default=None, description="the name of this role of the target")
    source: Literal["formal", "inferred", "manual"] | None = Field(
        default=None, description="where the join came from"
    )


class SourceEntry(Strict):
    """A whole file: a standalone source (`table` or `sql`) or an overlay (neither)."""

    name: str = Field(description="identity; the file's name and folder do not matter")
    description: str | None = Field(default=None, description="short for `descriptions: {user: …}`")
    descriptions: dict[str, str] = Field(
        default_factory=dict, description="text by author: user, dbt, ai, db"
    )
    source_type: str | None = Field(default=None, description="describes only")
    table: str | None = Field(
        default=None, description="standalone: the physical table, `catalog.schema.name`"
    )
    sql: str | None = Field(default=None, description="standalone: a SELECT to use like a table")
    inherits_columns_from: str | None = Field(
        default=None,
        description="standalone: the manifest table that fills blank types, roles and descriptions",
    )
    grain: list[str] | None = Field(default=None, description="the columns that identify a row")
    columns: list[ColumnEntry] | None = Field(
        default=None, description="standalone: all columns; overlay: computed ones to add"
    )
    measures: list[MeasureEntry] = Field(default_factory=list[MeasureEntry])
    segments: list[SegmentEntry] | None = Field(
        default=None, description="in an overlay these replace, else they add"
    )
    joins: list[JoinEntry] = Field(default_factory=list[JoinEntry])
    column_overrides: list[ColumnOverride] = Field(
        default_factory=list[ColumnOverride], description="overlay: facts about existing columns, by `name`"
    )
    exclude_columns: list[str] = Field(default_factory=list, description="overlay: columns to leave out")
    disable_joins: list[str] = Field(
        default_factory=list, description="overlay: the exact `on` of joins to leave out"
    )
    default_time_dimension: dict[str, str] | str | None = Field(
        default=None, description="the column that places a row in time, by tool or directly"
    )
    tags: dict[str, Any] | list[str] = Field(default_factory=dict[str, Any], description="describes only")
    freshness: dict[str, Any] | None = Field(default=None, description="describes only")
    usage: dict[str, Any] | None = Field(default=None, description="how the table is queried; describes only")
    meta: dict[str, Any] | None = Field(
        default=None,
        description="kept for tools; under `ktx` an ingest notes where each entry came from; describes only",
    )

    @field_validator("name")
    @classmethod
    def _name_is_not_blank(cls, name: str) -> str:
        return _filled(name)

    @field_validator("column_overrides", mode="before")
    @classmethod
    def _overrides_by_name(cls, value: object) -> object:
        """Accept `{column: {…}}` beside the list form."""
        if isinstance(value, dict):
            return [
                {"name": name, **facts} if isinstance(facts, dict) else facts
                for name, facts in value.items()  # pyright: ignore[reportUnknownVariableType]
            ]
        return value

    @property
    def is_standalone(self) -> bool:
        """Whether the file describes a source of its own."""
        return self.table is not None or self.sql is not None


def merged_descriptions(short: str | None, by_author: dict[str, str]) -> dict[str, str]:
    """Give descriptions by author with the short form filled in as the user's, unless that is there."""
    if short is None or not short.strip():
        return by_author
    return {"user": short, **by_author}


def _filled(name: str) -> str:
    if not name.strip():
        raise ValueError("must not be blank")
    return name
