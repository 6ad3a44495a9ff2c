"""The manifest: `semantic-layer/<connection>/_schema/<shard>.yaml`, what a scan knows of a warehouse's tables.

A shard is machine-owned: `ktx ingest` writes it, people read it, and correct it through overlays, through the description
key `user`, and through `ktx review`. This module holds the border model of a shard, the text of its references and join
conditions, and its rendering. How a new scan meets an older shard is `ktx.semantic.merge`.
"""

from collections.abc import Mapping
from typing import cast

import sqlglot
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlglot.tokenizer_core import TokenType

from ktx.catalog import Cardinality, ColumnKind, RelationshipOrigin, TableRef
from ktx.errors import LayerError
from ktx.semantic.block import render_block
from ktx.yaml import YamlError, parse_yaml

HEADER = (
    "# Written by `ktx ingest`: the tables of one schema, as scanned.\n"
    "# Put your own words under the description key `user`, and measures, segments and corrections into an overlay,\n"
    "# `../<table>.yaml`; both survive every scan. `ktx review` decides about inferred joins.\n"
)


class ShardColumn(BaseModel):
    """A physical column. `pk` marks the columns of the primary key, declared or found."""

    model_config = ConfigDict(extra="allow")

    name: str
    type: ColumnKind
    pk: bool = False
    nullable: bool = True
    descriptions: dict[str, str] = Field(default_factory=dict[str, str])


class ShardJoin(BaseModel):
    """A join from the table it stands under; `on` names the own side first.

    `alias` is set when one table is joined to another (or to itself) in more than one role.
    """

    model_config = ConfigDict(extra="allow")

    to: str
    on: str
    relationship: Cardinality
    source: RelationshipOrigin = "manual"
    alias: str | None = None


class RejectedJoin(BaseModel):
    """A join that a person turned down; no scan proposes it again."""

    model_config = ConfigDict(extra="allow")

    to: str
    on: str


class ShardTable(BaseModel):
    """One physical table under its source name; `table` is the physical reference as `table_text` writes it."""

    model_config = ConfigDict(extra="allow")

    table: str
    descriptions: dict[str, str] = Field(default_factory=dict[str, str])
    usage: dict[str, object] | None = None
    columns: list[ShardColumn] = Field(default_factory=list[ShardColumn])
    joins: list[ShardJoin] = Field(default_factory=list[ShardJoin])
    rejected_joins: list[RejectedJoin] = Field(default_factory=list[RejectedJoin])

    @property
    def ref(self) -> TableRef:
        """The physical reference as a value."""
        return parse_table_text(self.table)


class Shard(BaseModel):
    """One manifest file. Source names (the keys) are unique over all shards of a connection."""

    model_config = ConfigDict(extra="allow")

    tables: dict[str, ShardTable] = Field(default_factory=dict[str, ShardTable])


def parse_shard(text: str, *, file: str) -> Shard:
    """Parse the text of one shard; `file` is for the message.

    Raises:
        LayerError: not YAML, or not a manifest.
    """
    try:
        data = parse_yaml(text)
    except YamlError as error:
        spot = f" (line {error.line})" if error.line else ""
        raise LayerError(
            f"`{file}` is not YAML{spot}: {error.message}.",
            hint="Restore the file from git, or delete it and run `ktx ingest`.",
        ) from error
    try:
        return Shard.model_validate(data if data is not None else {})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        message = f"`{file}` is not a manifest: `{path}`: {first['msg']}."
        raise LayerError(
            message, hint="Restore the file from git, or delete it and run `ktx ingest`."
        ) from error


def render_shard(shard: Shard) -> str:
    """Render a shard: known keys in documented order, empty ones left out, then the keys that people added."""
    return HEADER + render_block(_plain_shard(shard))


def table_text(ref: TableRef) -> str:
    """Write a physical reference as `catalog.schema.name`, quoting a part only where it must be.

    >>> table_text(TableRef(schema="sales", name="Order Details"))
    'sales.Order Details'
    >>> table_text(TableRef(schema="sales", name="v1.2"))
    'sales."v1.2"'
    """
    return ".".join(
        f'"{part.replace(chr(34), chr(34) * 2)}"' if _needs_guard(part) else part for part in ref.parts
    )


def parse_table_text(text: str) -> TableRef:
    """Read what `table_text` wrote.

    >>> parse_table_text('sales."v1.2"')
    TableRef(catalog=None, schema='sales', name='v1.2')

    Raises:
        LayerError: nothing there, or more than three parts.
    """
    parts: list[str] = []
    rest = text
    while rest:
        if rest.startswith('"'):
            end = rest.find('"', 1)
            while end != -1 and rest[end : end + 2] == '""':
                end = rest.find('"', end + 2)
            if end == -1 or rest[end + 1 : end + 2] not in {"", "."}:
                parts.append(rest)
                break
            parts.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 2 :]
        else:
            part, _, rest = rest.partition(".")
            parts.append(part)
    if not 1 <= len(parts) <= 3 or not all(parts):
        message = f"`{text}` is not a table reference."
        raise LayerError(message, hint="Write `name`, `schema.name` or `catalog.schema.name`.")
    padded: list[str | None] = [None] * (3 - len(parts)) + list(parts)
    return TableRef(catalog=padded[0], schema=padded[1], name=cast("str", padded[2]))


def join_text(source: str, columns: tuple[str, ...], target: str, target_columns: tuple[str, ...]) -> str:
    """Write a join condition: own side first, pairs joined with AND, identifiers quoted only where they must be.

    >>> join_text("lines", ("order_id", "no"), "Order Items", ("order_id", "case"))
    'lines.order_id = "Order Items".order_id AND lines.no = "Order Items"."case"'
    """
    return " AND ".join(
        f"{_name(source)}.{_name(own)} = {_name(target)}.{_name(other)}"
        for own, other in zip(columns, target_columns, strict=True)
    )


def _needs_guard(part: str) -> bool:
    return "." in part or '"' in part


def _name(identifier: str) -> str:
    tokens = sqlglot.tokenize(identifier) if identifier.isidentifier() and identifier.isascii() else []
    if len(tokens) == 1 and tokens[0].token_type is TokenType.VAR:
        return identifier
    return '"' + identifier.replace('"', '""') + '"'


def _plain_shard(shard: Shard) -> dict[str, object]:
    return {
        "tables": {name: _plain_table(table) for name, table in sorted(shard.tables.items())},
        **_extras(shard),
    }


def _plain_table(table: ShardTable) -> dict[str, object]:
    plain: dict[str, object] = {"table": table.table}
    if table.descriptions:
        plain["descriptions"] = _sorted(table.descriptions)
    if table.usage:
        plain["usage"] = table.usage
    plain["columns"] = [_plain_column(column) for column in table.columns]
    if table.joins:
        plain["joins"] = [_plain_join(join) for join in table.joins]
    if table.rejected_joins:
        plain["rejected_joins"] = [
            {"to": join.to, "on": join.on, **_extras(join)} for join in table.rejected_joins
        ]
    return {**plain, **_extras(table)}


def _plain_column(column: ShardColumn) -> dict[str, object]:
    plain: dict[str, object] = {"name": column.name, "type": column.type}
    if column.pk:
        plain["pk"] = True
    if not column.nullable:
        plain["nullable"] = False
    if column.descriptions:
        plain["descriptions"] = _sorted(column.descriptions)
    return {**plain, **_extras(column)}


def _plain_join(join: ShardJoin) -> dict[str, object]:
    plain: dict[str, object] = {
        "to": join.to,
        "on": join.on,
        "relationship": join.relationship,
        "source": join.source,
    }
    if join.alias:
        plain["alias"] = join.alias
    return {**plain, **_extras(join)}


def _sorted(descriptions: Mapping[str, str]) -> dict[str, str]:
    order = {"user": 0, "dbt": 1, "ai": 2, "db": 3}
    return {key: descriptions[key] for key in sorted(descriptions, key=lambda key: (order.get(key, 4), key))}


def _extras(model: BaseModel) -> dict[str, object]:
    return dict(model.model_extra or {})
