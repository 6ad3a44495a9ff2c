"""Every secret that ktx.yaml names, for those who must keep them out of texts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from pydantic import BaseModel

from ktx.config.block import Secret, marks
from ktx.config.secrets import SecretRef
from ktx.errors import ConfigError


def revealed_secrets(block: BaseModel, *, project_dir: Path) -> tuple[str, ...]:
    """Give the values of all fields that may hold a secret; those that cannot be resolved now are left out."""
    return tuple(dict.fromkeys(_revealed(block, project_dir)))


def _revealed(value: object, project_dir: Path) -> Iterator[str]:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        for name, field in fields.items():
            inner: object = getattr(value, name)
            if isinstance(inner, str) and any(isinstance(mark, Secret) for mark in marks(field)):
                try:
                    yield SecretRef.parse(inner).reveal(project_dir)
                except ConfigError:
                    continue
            else:
                yield from _revealed(inner, project_dir)
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[object, object]", value).values():
            yield from _revealed(inner, project_dir)
