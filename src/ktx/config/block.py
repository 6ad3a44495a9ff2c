"""What every block of ktx.yaml shares: both key spellings, unknown keys kept aside, and marks on fields."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, TypeAlias, cast, get_args

from pydantic import AliasChoices, AliasGenerator, BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo


@dataclass(frozen=True, kw_only=True)
class Secret:
    """Mark a text field that may hold a secret: a plain value there deserves a warning."""


@dataclass(frozen=True, kw_only=True)
class Inert:
    """Mark a field that is accepted for the sake of existing files and changes nothing; `reason` says why."""

    reason: str


def _as_names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


SecretText: TypeAlias = Annotated[str, Secret()]
"""Text that may be a reference (`env:NAME`, `file:path`) and should be one."""

Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_as_names)]
"""Several names; a single one may be written without the list."""


def keys(*names: str) -> str | AliasChoices:
    """Accept a field under each of `names`, in snake_case and camelCase; the first is the documented spelling."""
    spellings = list(dict.fromkeys(spelling for name in names for spelling in (name, to_camel(name))))
    return AliasChoices(*spellings) if len(spellings) > 1 else spellings[0]


class Block(BaseModel):
    """A block of ktx.yaml, documented in snake_case and read in camelCase as well.

    Unknown keys stay in `model_extra`, so that the loader can name them; a known key without a value (`llm:`) means
    its default.
    """

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        populate_by_name=True,
        alias_generator=AliasGenerator(validation_alias=lambda name: keys(name)),
    )

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Leave out what may be a secret."""
        fields = type(self).model_fields
        for name, value in super().__repr_args__():
            if name in fields and not any(isinstance(mark, Secret) for mark in marks(fields[name])):
                yield name, value

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        known = known_keys(cls)
        pairs = cast("Mapping[object, object]", data).items()
        return {key: value for key, value in pairs if value is not None or key not in known}


class CamelBlock(Block):
    """A block whose documented spelling is camelCase; snake_case is read as well."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(
            validation_alias=lambda name: keys(to_camel(name), name),
        ),
    )


def marks(field: FieldInfo) -> tuple[object, ...]:
    """Give the marks on a field, also where its type is written as `SecretText | None`."""
    inner = [part for option in get_args(field.annotation) for part in get_args(option)[1:]]
    return (*field.metadata, *inner)


@cache
def known_keys(block: type[BaseModel]) -> Mapping[str, str]:
    """Give each key that `block` reads, with the name of the field it fills; documented spellings come first."""
    fields_by_key: dict[str, str] = {}
    later: dict[str, str] = {}
    for name, field in block.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        spellings = [choice for choice in choices if isinstance(choice, str)] or [name]
        fields_by_key[spellings[0]] = name
        later.update(dict.fromkeys([*spellings[1:], name], name))
    return {**fields_by_key, **{key: name for key, name in later.items() if key not in fields_by_key}}


def documented_key(block: type[BaseModel], field: str) -> str:
    """Give the spelling of `field` that the documentation uses."""
    return next(key for key, name in known_keys(block).items() if name == field)
