"""What the tools take: one model per tool, which is also the schema that clients see. Unknown keys are refused."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
Connection = Annotated[Name, Field(description="a connection id, as `connection_list` gives it")]
Limit = Annotated[int, Field(ge=1, le=50, description="at most so many results")]


class ToolInput(BaseModel):
    """The arguments of a tool."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, frozen=True)


class Nothing(ToolInput):
    """No arguments."""


class DiscoverInput(ToolInput):
    """What to look for, and where."""

    query: Annotated[Words, Field(description="words of the question, names, or a literal value")]
    connection_id: Connection | None = None
    kinds: Annotated[
        list[Literal["wiki", "sl_source", "sl_measure", "sl_dimension", "sl_segment", "table", "column"]],
        Field(max_length=7, description="only these kinds; empty means all"),
    ] = []
    limit: Limit = 10


class ContextPackInput(ToolInput):
    """Which question to gather context for, and how much of it."""

    question: Annotated[Words, Field(description="the question as a person asked it")]
    tokens: Annotated[
        int,
        Field(
            ge=200,
            le=25_000,
            description="at most so many tokens, four letters each; the server's own bound holds too",
        ),
    ] = 4_000
    connection_id: Connection | None = None


class WikiSearchInput(ToolInput):
    """What to look for in the wiki."""

    query: Annotated[Words, Field(description="words of the question")]
    limit: Limit = 10
    connection_id: Connection | None = None


class WikiReadInput(ToolInput):
    """Which page to read, or which part of it."""

    key: Annotated[Name, Field(description="a page key, such as `net-revenue`")]
    section: Annotated[
        Name | None, Field(description="a heading of the page: gives only the part under it, of a long page")
    ] = None


class TableParts(ToolInput):
    """A table by its parts; `db` is the schema."""

    catalog: Name | None = None
    db: Name | None = None
    name: Name


class EntityInput(ToolInput):
    """One table, and the columns wanted of it (all when empty)."""

    table: Annotated[Name | TableParts, Field(description="`schema.table`, a bare name, or its parts")]
    columns: Annotated[list[Name], Field(max_length=500)] = []


class EntityDetailsInput(ToolInput):
    """Which tables to describe."""

    connection_id: Connection
    entities: Annotated[list[EntityInput], Field(min_length=1, max_length=20)]


class DictionarySearchInput(ToolInput):
    """Which literal values to place."""

    values: Annotated[
        list[Name], Field(min_length=1, max_length=20, description="values as a person wrote them")
    ]
    connection_id: Connection | None = None


class MemoryInput(ToolInput):
    """What should be remembered."""

    content: Annotated[
        str,
        StringConstraints(min_length=1, max_length=200_000),
        Field(description="the text, whole sentences that hold without the conversation"),
    ]
    connection_id: Connection | None = None


class MemoryStatusInput(ToolInput):
    """Which run to look at."""

    run_id: Annotated[Name, Field(description="as `memory_ingest` gave it")]


class SourceReadInput(ToolInput):
    """Which source to read."""

    connection_id: Connection
    source_name: Name


class SqlInput(ToolInput):
    """One read-only statement."""

    connection_id: Connection
    sql: Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
    max_rows: Annotated[int, Field(ge=1, le=10_000)] = 1000
