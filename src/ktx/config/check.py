"""What a valid ktx.yaml may still be told: unknown keys, keys without effect, secrets in plain text."""

import re
from collections.abc import Iterator, Mapping
from typing import cast

from ktx.config.block import Block, Inert, Secret, documented_key, known_keys, marks
from ktx.config.document import Document, Path
from ktx.config.model import KtxConfig
from ktx.config.secrets import SecretRef
from ktx.findings import Finding
from ktx.names import is_connection_id
from ktx.suggest import nearest

_PASSWORD_IN_URL = re.compile(
    r"://[^/@\s]*:[^/@\s]+@|[?&;](password|passwd|pwd|token|secret)=", re.IGNORECASE
)


def check_ids(document: Document) -> tuple[Finding, ...]:
    """Check the names of connections; these are errors, also where the connection itself is fine."""
    connections = document.data.get("connections")
    if not isinstance(connections, Mapping):
        return ()
    return tuple(
        Finding(
            level="error",
            code="config-connection-id",
            message=f"`{name}` cannot name a connection.",
            where=document.place(("connections", str(name))),
            fix="Use letters, digits, `_` and `-` only, in quotes if it is all digits.",
        )
        for name in cast("Mapping[object, object]", connections)
        if not isinstance(name, str) or not is_connection_id(name)
    )


def check_blocks(config: KtxConfig, document: Document) -> tuple[Finding, ...]:
    """Check every block of a valid configuration against what the file says, in the order of the file."""
    findings = [*_walk(config, document.data, (), document), *_check_primary(config, document)]
    return tuple(sorted(findings, key=lambda finding: finding.where.line or 0))


def _walk(block: Block, data: Mapping[object, object], path: Path, document: Document) -> Iterator[Finding]:
    fields_by_key = known_keys(type(block))
    seen: dict[str, str] = {}
    for raw_key, value in data.items():
        key = str(raw_key)
        here = (*path, key)
        field = fields_by_key.get(key)
        if field is None:
            yield _unknown(type(block), key, here, document)
            continue
        if field in seen:
            yield Finding(
                level="error",
                code="config-key-twice",
                message=f"`{key}` and `{seen[field]}` are the same key.",
                where=document.place(here),
                fix=f"Keep one of them; `{documented_key(type(block), field)}` is the usual spelling.",
            )
            continue
        seen[field] = key
        yield from _check_marks(block, field, value, here, document)
        yield from _descend(getattr(block, field), value, here, document)


def _descend(value: object, data: object, path: Path, document: Document) -> Iterator[Finding]:
    if isinstance(value, Block):
        if isinstance(data, Mapping):
            yield from _walk(value, cast("Mapping[object, object]", data), path, document)
    elif isinstance(value, Mapping):
        if isinstance(data, Mapping):
            entries = cast("Mapping[object, object]", data)
            for key, entry in cast("Mapping[str, object]", value).items():
                yield from _descend(entry, entries.get(key), (*path, key), document)
    elif isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        if isinstance(data, list):
            for index, (entry, raw) in enumerate(zip(items, cast("list[object]", data), strict=False)):
                yield from _descend(entry, raw, (*path, index), document)
        elif len(items) == 1:  # a single value written without the list
            yield from _descend(items[0], data, path, document)


def _unknown(block: type[Block], key: str, path: Path, document: Document) -> Finding:
    known = list(dict.fromkeys(documented_key(block, name) for name in block.model_fields))
    found = nearest(key, known)
    inside = ".".join(str(part) for part in path[:-1])
    return Finding(
        level="warning",
        code="config-unknown-key",
        message=f"`{key}` is not a key of {f'`{inside}`' if inside else 'ktx.yaml'}; it is ignored.",
        where=document.place(path),
        fix=f"Did you mean `{found}`?" if found else f"Known keys: {', '.join(known)}.",
    )


def _check_marks(
    block: Block, field: str, value: object, path: Path, document: Document
) -> Iterator[Finding]:
    for mark in marks(type(block).model_fields[field]):
        if isinstance(mark, Inert):
            yield Finding(
                level="note",
                code="config-no-effect",
                message=f"`{path[-1]}` has no effect: {mark.reason}.",
                where=document.place(path),
                fix="It can be removed.",
            )
        if isinstance(mark, Secret) and isinstance(value, str) and _is_plain_secret(field, value):
            yield Finding(
                level="warning",
                code="config-plain-secret",
                message=f"`{path[-1]}` holds a secret in plain text, in a file that git records.",
                where=document.place(path),
                fix="Write `env:NAME` or `file:.ktx/secrets/NAME` and move the secret there.",
            )


def _is_plain_secret(field: str, value: str) -> bool:
    if SecretRef.parse(value).kind != "literal" or not value:
        return False
    return field != "url" or _PASSWORD_IN_URL.search(value) is not None


def _check_primary(config: KtxConfig, document: Document) -> Iterator[Finding]:
    for name in config.setup.database_connection_ids:
        if name not in config.connections:
            found = nearest(name, config.connections)
            yield Finding(
                level="warning",
                code="config-unknown-connection",
                message=f"`{name}` is not one of the connections.",
                where=document.place(("setup", "database_connection_ids")),
                fix=f"Did you mean `{found}`?" if found else "Remove it, or add the connection.",
            )
