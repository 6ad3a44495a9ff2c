"""The names that wiki pages may point at, taken from the layers."""

from collections.abc import Iterable

from ktx.semantic.source import Layer
from ktx.wiki.check import Known


def known_names(layers: Iterable[Layer], connections: Iterable[str]) -> Known:
    """Give what pages may point at: the connections, and what the layers hold."""
    layers = tuple(layers)
    return Known(
        connections=frozenset(connections),
        entities_by_source={
            layer.connection_id: {
                name: frozenset(part.name for part in (*source.measures, *source.columns, *source.segments))
                for name, source in layer.sources.items()
            }
            for layer in layers
        },
        tables={
            layer.connection_id: frozenset(
                spelling
                for source in layer.sources.values()
                if source.table
                for spelling in (source.table, source.table.rpartition(".")[2])
            )
            for layer in layers
        },
    )
