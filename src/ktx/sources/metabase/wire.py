"""What Metabase sends, as values: only what is read, and lenient about the rest."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _none_is_empty(value: object) -> object:
    return () if value is None else value


def _none_is_false(value: object) -> object:
    return False if value is None else value


_Flag = Annotated[bool, BeforeValidator(_none_is_false)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class FieldInfo(_Wire):
    """A column as Metabase knows it."""

    id: int
    name: str
    description: str | None = None
    base_type: str = "type/*"
    effective_type: str | None = None
    semantic_type: str | None = None
    fk_target_field_id: int | None = None
    visibility_type: str | None = "normal"
    active: bool | None = True


class TableInfo(_Wire):
    """A table of a database."""

    id: int
    name: str
    schema_: str | None = Field(default=None, alias="schema")
    description: str | None = None
    active: bool | None = True
    fields: Annotated[tuple[FieldInfo, ...], BeforeValidator(_none_is_empty)] = ()


class DatabaseInfo(_Wire):
    """A database that Metabase is connected to."""

    id: int
    name: str = ""
    engine: str = ""


class ResultColumn(_Wire):
    """A column of a card's result."""

    name: str
    id: int | None = None
    description: str | None = None
    base_type: str = "type/*"
    semantic_type: str | None = None


class CardInfo(_Wire):
    """A question, model or metric. `dataset` is how models were marked before there were types."""

    id: int
    name: str
    description: str | None = None
    type: str | None = None
    dataset: _Flag = False
    archived: _Flag = False
    database_id: int | None = None
    collection_id: int | None = None
    dataset_query: Mapping[str, Any] | None = None
    result_metadata: Annotated[tuple[ResultColumn, ...], BeforeValidator(_none_is_empty)] = ()
    display: str | None = None
    updated_at: str | None = None
    last_used_at: str | None = None
    view_count: int | None = None
    dashboard_count: int | None = None

    @property
    def kind(self) -> str:
        """`question`, `model` or `metric`."""
        return self.type or ("model" if self.dataset else "question")


class CollectionInfo(_Wire):
    """A folder of cards; `location` is the path of ids above it, as `/1/5/`."""

    id: int
    name: str
    description: str | None = None
    location: str | None = "/"
    archived: _Flag = False
    personal_owner_id: int | None = None
    is_personal: _Flag = False
    type: str | None = None


class SeriesInfo(_Wire):
    """A card shown together with another one."""

    id: int | None = None


class DashcardInfo(_Wire):
    """A place on a dashboard: a card, or text in the settings."""

    card_id: int | None = None
    series: Annotated[tuple[SeriesInfo, ...], BeforeValidator(_none_is_empty)] = ()
    visualization_settings: Mapping[str, Any] | None = None


class ParameterInfo(_Wire):
    """A filter of a dashboard."""

    name: str = ""
    type: str | None = None


class DashboardInfo(_Wire):
    """A dashboard with its cards."""

    id: int
    name: str
    description: str | None = None
    collection_id: int | None = None
    archived: _Flag = False
    dashcards: Annotated[tuple[DashcardInfo, ...], BeforeValidator(_none_is_empty)] = ()
    parameters: Annotated[tuple[ParameterInfo, ...], BeforeValidator(_none_is_empty)] = ()
    updated_at: str | None = None
    view_count: int | None = None


class SegmentInfo(_Wire):
    """A saved filter of a table."""

    id: int
    name: str
    description: str | None = None
    table_id: int
    archived: _Flag = False
    definition: Mapping[str, Any] = Field(default_factory=dict[str, Any])


class OldMetricInfo(_Wire):
    """A metric as it was before metrics were cards."""

    id: int
    name: str
    description: str | None = None
    table_id: int
    archived: _Flag = False
    definition: Mapping[str, Any] = Field(default_factory=dict[str, Any])


class SnippetInfo(_Wire):
    """A piece of SQL that native questions share."""

    id: int
    name: str
    content: str = ""
    archived: _Flag = False
