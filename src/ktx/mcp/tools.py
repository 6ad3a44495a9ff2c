"""The tools that agents are offered, as values: name, description, input, output, and the function of `ktx.serve` behind each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from ktx.mcp.inputs import (
    ContextPackInput,
    DictionarySearchInput,
    DiscoverInput,
    EntityDetailsInput,
    MemoryInput,
    MemoryStatusInput,
    Nothing,
    SourceReadInput,
    SqlInput,
    WikiReadInput,
    WikiSearchInput,
)
from ktx.serve.answers import (
    Answer,
    ConnectionList,
    ContextPack,
    DictionarySearch,
    Discovery,
    EntityDetails,
    MemoryRun,
    MemoryStatus,
    QueryAnswer,
    SourceText,
    SqlAnswer,
    WikiPage,
    WikiSearch,
)
from ktx.serve.connections import connection_list
from ktx.serve.context import context_pack
from ktx.serve.desk import Desk
from ktx.serve.dictionary import dictionary_search
from ktx.serve.discover import discover_data
from ktx.serve.entities import EntityAsk, entity_details
from ktx.serve.fit import Cut
from ktx.serve.query import QueryAsk, QueryInput, parse_ask, sl_query
from ktx.serve.remember import can_remember, memory_ingest, memory_ingest_status
from ktx.serve.sources import sl_read_source
from ktx.serve.sql import is_sql_allowed, sql_execution
from ktx.serve.wiki import wiki_read, wiki_search

Input = TypeVar("Input", bound=BaseModel)


def _always(desk: Desk) -> bool:
    del desk
    return True


@dataclass(frozen=True, kw_only=True)
class Tool(Generic[Input]):
    """One tool. `is_offered` says whether this project can use it at all, `is_asking` whether it waits for a database, `is_searching`
    whether its answer follows from the index and the files behind it alone, `is_writing` whether it changes the project.

    `cuts` says what of an answer is given up first when it is too long; `within` lowers what is asked to the bound beforehand.

    `run` is given what `parse` makes of the arguments, by default the input model itself.
    """

    name: str
    title: str
    input: type[Input]
    output: type[Answer]
    run: Callable[[Desk, Any], Answer]
    parse: Callable[[Mapping[str, object]], object] | None = None
    is_idempotent: bool = False
    is_asking: bool = False
    is_searching: bool = False
    is_writing: bool = False
    is_offered: Callable[[Desk], bool] = _always
    cuts: tuple[Cut, ...] = ()
    within: Callable[[Any, int], Any] | None = None

    def read(self, arguments: Mapping[str, object]) -> object:
        """Check the arguments and give what `run` takes.

        Raises:
            pydantic.ValidationError, QueryError: they cannot be used.
        """
        return self.input.model_validate(arguments) if self.parse is None else self.parse(arguments)

    @property
    def description(self) -> str:
        """What the tool is for, in Markdown."""
        return _description(self.name)

    def input_schema(self) -> dict[str, Any]:
        """Give the JSON Schema of the arguments."""
        return _input_schema(self.input)

    def output_schema(self) -> dict[str, Any]:
        """Give the JSON Schema of the structured answer."""
        return _output_schema(self.output)


@cache
def _input_schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


@cache
def _output_schema(model: type[Answer]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True)
    schema["properties"]["cut"] = {
        "description": "what was left out to keep the answer short, and how to get it; absent when it is whole",
        "items": {"type": "string"},
        "type": "array",
    }
    return schema


@cache
def _description(name: str) -> str:
    return files("ktx.mcp").joinpath("descriptions", f"{name}.md").read_text(encoding="utf-8").strip()


def instructions(*, with_memory: bool) -> str:
    """Give the text that tells an agent how the tools work together; `with_memory` where texts can be remembered."""
    base = _description("_instructions")
    return f"{base}\n\n{_description('_memory')}" if with_memory else base


def _has_open_sql(desk: Desk) -> bool:
    return any(is_sql_allowed(desk, connection) for connection in desk.project.warehouses)


def _can_remember(desk: Desk) -> bool:
    return desk.seen("can_remember", lambda: can_remember(desk.project))


def _connection_list(desk: Desk, given: Nothing) -> ConnectionList:
    del given
    return connection_list(desk)


def _context_pack(desk: Desk, given: ContextPackInput) -> ContextPack:
    return context_pack(desk, given.question, tokens=given.tokens, connection_id=given.connection_id)


def _context_within(given: ContextPackInput, max_tokens: int) -> ContextPackInput:
    return given.model_copy(update={"tokens": min(given.tokens, max_tokens)})


def _discover_data(desk: Desk, given: DiscoverInput) -> Discovery:
    return discover_data(
        desk, given.query, connection_id=given.connection_id, kinds=tuple(given.kinds), limit=given.limit
    )


def _wiki_search(desk: Desk, given: WikiSearchInput) -> WikiSearch:
    return wiki_search(desk, given.query, limit=given.limit, connection_id=given.connection_id)


def _wiki_read(desk: Desk, given: WikiReadInput) -> WikiPage:
    return wiki_read(desk, given.key, section=given.section)


def _entity_details(desk: Desk, given: EntityDetailsInput) -> EntityDetails:
    asks = [
        EntityAsk(text=one.table, columns=tuple(one.columns))
        if isinstance(one.table, str)
        else EntityAsk(
            catalog=one.table.catalog, schema=one.table.db, name=one.table.name, columns=tuple(one.columns)
        )
        for one in given.entities
    ]
    return entity_details(desk, given.connection_id, asks)


def _dictionary_search(desk: Desk, given: DictionarySearchInput) -> DictionarySearch:
    return dictionary_search(desk, given.values, connection_id=given.connection_id)


def _sl_read_source(desk: Desk, given: SourceReadInput) -> SourceText:
    return sl_read_source(desk, given.connection_id, given.source_name)


def _sl_query(desk: Desk, ask: QueryAsk) -> QueryAnswer:
    return sl_query(desk, ask)


def _sql_execution(desk: Desk, given: SqlInput) -> SqlAnswer:
    return sql_execution(desk, given.connection_id, given.sql, max_rows=given.max_rows)


def _memory_ingest(desk: Desk, given: MemoryInput) -> MemoryRun:
    return memory_ingest(desk, given.content, connection_id=given.connection_id)


def _memory_ingest_status(desk: Desk, given: MemoryStatusInput) -> MemoryStatus:
    return memory_ingest_status(desk, given.run_id)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        name="connection_list", title="List connections", input=Nothing, output=ConnectionList, run=_connection_list,
        is_idempotent=True, cuts=(Cut(path="connections", how="ask by the id that a person names"),),
    ),
    Tool(
        name="context_pack", title="Gather the context of a question", input=ContextPackInput, output=ContextPack,
        is_searching=True, run=_context_pack, within=_context_within,
    ),
    Tool(
        name="discover_data", title="Discover data", input=DiscoverInput, output=Discovery, is_searching=True, run=_discover_data,
        cuts=(Cut(path="refs", how="narrow the search with `kinds`, `connectionId` or more words"),),
    ),
    Tool(
        name="wiki_search", title="Search the wiki", input=WikiSearchInput, output=WikiSearch, is_searching=True, run=_wiki_search,
        cuts=(Cut(path="results", how="search with more words"),),
    ),
    Tool(
        name="wiki_read", title="Read a wiki page", input=WikiReadInput, output=WikiPage, run=_wiki_read,
        is_idempotent=True, cuts=(Cut(path="content", how="read one part with `section`", shape="markdown"),),
    ),
    Tool(
        name="entity_details", title="Describe tables", input=EntityDetailsInput, output=EntityDetails, run=_entity_details,
        is_idempotent=True, cuts=(
            Cut(path="results.*.columns", how="name the ones you need in `columns`; `discover_data` with the kind `column` finds them"),
            Cut(path="results", how="ask for fewer tables at once"),
        ),
    ),
    Tool(
        name="dictionary_search", title="Find where values live", input=DictionarySearchInput, output=DictionarySearch,
        is_searching=True, run=_dictionary_search, cuts=(
            Cut(path="results.*.matches", how="ask for one value at a time, with a `connectionId`"),
            Cut(path="results", how="ask for fewer values at once"),
        ),
    ),
    Tool(
        name="sl_read_source", title="Read a semantic source", input=SourceReadInput, output=SourceText,
        run=_sl_read_source, is_idempotent=True,
        cuts=(Cut(path="yaml", how="`discover_data` with a word of theirs finds single columns and measures", shape="yaml"),),
    ),
    Tool(
        name="sl_query", title="Ask a semantic question", input=QueryInput, output=QueryAnswer, run=_sl_query, parse=parse_ask,
        is_asking=True, cuts=(
            Cut(path="rows", how="ask for coarser groups, add filters, or order and set `limit`", keep=20),
            Cut(path="plan", how="ask without `include: [plan]`, or for fewer measures", shape="whole"),
            Cut(path="receipt", how="ask for it with `limit: 1`, or for fewer measures", shape="whole"),
            Cut(path="rows", how="ask for coarser groups, add filters, or order and set `limit`"),
            Cut(path="sql", how="ask for fewer measures", shape="whole"),
            Cut(path="receipt", how="ask for fewer measures", shape="whole"),
        ),
    ),
    Tool(
        name="sql_execution", title="Run read-only SQL", input=SqlInput, output=SqlAnswer, run=_sql_execution,
        is_asking=True, is_offered=_has_open_sql,
        cuts=(Cut(path="rows", how="aggregate or filter in SQL, select fewer columns, or page with ORDER BY, LIMIT and OFFSET"),),
    ),
    Tool(
        name="memory_ingest", title="Remember a text", input=MemoryInput, output=MemoryRun, run=_memory_ingest,
        is_writing=True, is_offered=_can_remember,
    ),
    Tool(
        name="memory_ingest_status", title="Look how remembering went", input=MemoryStatusInput, output=MemoryStatus,
        run=_memory_ingest_status, is_idempotent=True, is_offered=_can_remember, cuts=(
            Cut(path="captured.xrefs", how="read the pages themselves"),
            Cut(path="captured.sl", how="`sl_read_source` shows what a source has now"),
            Cut(path="captured.wiki", how="`wiki_search` finds them"),
        ),
    ),
)  # fmt: skip
"""Every tool, in the order in which an agent tends to need them."""


_TOOL_BY_NAME = {tool.name: tool for tool in TOOLS}


def tool_named(name: str) -> Tool[Any] | None:
    """Give the tool of that name, whether or not a project can use it; None when there is none."""
    return _TOOL_BY_NAME.get(name)


def input_schema(name: str) -> dict[str, Any] | None:
    """Give the schema of a tool's arguments; None when there is no such tool."""
    tool = tool_named(name)
    return None if tool is None else tool.input_schema()


def offered_tools(desk: Desk) -> tuple[Tool[Any], ...]:
    """Give the tools that this project can use."""
    return tuple(tool for tool in TOOLS if tool.is_offered(desk))
