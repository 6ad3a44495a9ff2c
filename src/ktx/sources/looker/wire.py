"""What Looker sends, as values: only what is read, and lenient about the rest."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _none_is_empty(value: object) -> object:
    return () if value is None else value


def _none_is_false(value: object) -> object:
    return False if value is None else value


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_Flag = Annotated[bool, BeforeValidator(_none_is_false)]
_Id = Annotated[str, BeforeValidator(_as_text), Field(min_length=1, max_length=400)]
_MaybeId = Annotated[str | None, BeforeValidator(_as_text)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class CaseInfo(_Wire):
    """One branch of a `case` dimension."""

    value: str = ""
    condition: str | None = None


class FilterInfo(_Wire):
    """A filter that belongs to a measure."""

    field: str
    condition: str | None = None


class FieldInfo(_Wire):
    """A dimension or measure of an explore, called `view.name`."""

    name: str
    view: str
    original_view: str | None = None
    type: str = "string"
    sql: str | None = None
    sql_case: Annotated[tuple[CaseInfo, ...], BeforeValidator(_none_is_empty)] = ()
    filters: Annotated[tuple[FilterInfo, ...], BeforeValidator(_none_is_empty)] = ()
    label: str | None = None
    description: str | None = None
    primary_key: _Flag = False
    hidden: _Flag = False
    dimension_group: str | None = None

    @property
    def short(self) -> str:
        """The name without its view."""
        return self.name.removeprefix(f"{self.view}.")


class FieldsInfo(_Wire):
    """The fields of an explore."""

    dimensions: Annotated[tuple[FieldInfo, ...], BeforeValidator(_none_is_empty)] = ()
    measures: Annotated[tuple[FieldInfo, ...], BeforeValidator(_none_is_empty)] = ()


class JoinInfo(_Wire):
    """A join of an explore."""

    name: str
    type: str | None = None
    relationship: str | None = None
    from_: str | None = Field(default=None, alias="from")
    sql_on: str | None = None
    foreign_key: str | None = None
    sql_table_name: str | None = None


class NameValue(_Wire):
    """A filter that an explore always has."""

    name: str
    value: str | None = None


class ExploreInfo(_Wire):
    """An explore with all its fields."""

    name: str
    model_name: str
    label: str | None = None
    description: str | None = None
    hidden: _Flag = False
    connection_name: str | None = None
    view_name: str | None = None
    sql_table_name: str | None = None
    fields: FieldsInfo = FieldsInfo()
    joins: Annotated[tuple[JoinInfo, ...], BeforeValidator(_none_is_empty)] = ()
    always_filter: Annotated[tuple[NameValue, ...], BeforeValidator(_none_is_empty)] = ()
    conditionally_filter: Annotated[tuple[NameValue, ...], BeforeValidator(_none_is_empty)] = ()


class ExploreName(_Wire):
    """An explore as a model lists it."""

    name: str


class ModelInfo(_Wire):
    """A LookML model."""

    name: str
    label: str | None = None
    explores: Annotated[tuple[ExploreName, ...], BeforeValidator(_none_is_empty)] = ()


class FolderInfo(_Wire):
    """A folder of dashboards and Looks."""

    id: _Id
    name: str = ""
    parent_id: _MaybeId = None
    is_personal: _Flag = False
    is_personal_descendant: _Flag = False


class QueryInfo(_Wire):
    """A query of a tile or a Look; `view` is the explore. `dynamic_fields` is JSON in text."""

    model: str | None = None
    view: str | None = None
    fields: Annotated[tuple[str, ...], BeforeValidator(_none_is_empty)] = ()
    pivots: Annotated[tuple[str, ...], BeforeValidator(_none_is_empty)] = ()
    filters: Mapping[str, Any] | None = None
    filter_expression: str | None = None
    sorts: Annotated[tuple[str, ...], BeforeValidator(_none_is_empty)] = ()
    limit: str | int | None = None
    dynamic_fields: str | None = None


class ResultMaker(_Wire):
    """Where newer tiles keep their query."""

    query: QueryInfo | None = None


class FolderRef(_Wire):
    """The folder that something lies in."""

    id: _Id


class LookInfo(_Wire):
    """A Look."""

    id: _Id
    title: str | None = None
    description: str | None = None
    folder: FolderRef | None = None
    folder_id: _MaybeId = None
    deleted: _Flag = False
    query: QueryInfo | None = None

    @property
    def place(self) -> str | None:
        """The id of its folder."""
        return self.folder.id if self.folder is not None else self.folder_id


class ElementInfo(_Wire):
    """A tile of a dashboard."""

    title: str | None = None
    title_text: str | None = None
    subtitle_text: str | None = None
    body_text: str | None = None
    note_text: str | None = None
    type: str | None = None
    query: QueryInfo | None = None
    look: LookInfo | None = None
    result_maker: ResultMaker | None = None
    merge_result_id: _MaybeId = None
    deleted: _Flag = False

    @property
    def asks(self) -> QueryInfo | None:
        """Its query, wherever that stands."""
        if self.query is not None:
            return self.query
        if self.look is not None and self.look.query is not None:
            return self.look.query
        return self.result_maker.query if self.result_maker is not None else None


class DashboardFilterInfo(_Wire):
    """A filter of a dashboard."""

    name: str = ""
    title: str | None = None
    dimension: str | None = None
    default_value: str | None = None


class DashboardInfo(_Wire):
    """A dashboard with its tiles."""

    id: _Id
    title: str | None = None
    description: str | None = None
    folder: FolderRef | None = None
    deleted: _Flag = False
    dashboard_elements: Annotated[tuple[ElementInfo, ...], BeforeValidator(_none_is_empty)] = ()
    dashboard_filters: Annotated[tuple[DashboardFilterInfo, ...], BeforeValidator(_none_is_empty)] = ()

    @property
    def place(self) -> str | None:
        """The id of its folder."""
        return self.folder.id if self.folder is not None else None


class Listed(_Wire):
    """A dashboard or Look as a search lists it."""

    id: _Id
    updated_at: str | None = None
    deleted: _Flag = False
    view_count: int | None = None
    favorite_count: int | None = None
    last_viewed_at: str | None = None
