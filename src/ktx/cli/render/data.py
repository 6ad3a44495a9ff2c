"""Data on stdout: JSON, and tables that are drawn on a terminal and tab-separated elsewhere."""

import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast
from uuid import UUID

from ktx.cli.render.narrate import is_coloured

Output: TypeAlias = Literal["auto", "pretty", "plain", "json"]
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)  # what a terminal would obey; tab and line break are handled apart


def write_json(value: object) -> None:
    """Write `value` as indented JSON. Takes plain values, dataclasses, pydantic models and warehouse cells."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=_plain) + "\n")


def write_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    output: Output = "auto",
    right: Iterable[str] = (),
) -> None:
    """Write rows under headers; `right` names the columns to align right.

    `auto` draws on a terminal and writes tab-separated lines elsewhere, headers first.
    """
    if output == "pretty" or (output == "auto" and sys.stdout.isatty()):
        _draw(headers, rows, frozenset(right))
        return
    sys.stdout.write("\t".join(headers) + "\n")
    for row in rows:
        sys.stdout.write("\t".join(_one_line(cell) for cell in row) + "\n")


def write_text(text: str) -> None:
    """Write text as it is, ended by one line break."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def cell_text(cell: object) -> str:
    """Render one cell for people; an absent value is empty."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return str(_plain(cell)) if isinstance(cell, datetime | date | time | bytes | Decimal) else str(cell)


def _one_line(cell: object) -> str:
    text = cell_text(cell)
    text = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return _CONTROL.sub(_shown, text)


def _shown(control: re.Match[str]) -> str:
    return f"\\x{ord(control.group()):02x}"


def _draw(headers: Sequence[str], rows: Iterable[Sequence[object]], right: frozenset[str]) -> None:
    # rich costs more than most commands; only a terminal pays for it.
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(Text(header), justify="right" if header in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_CONTROL.sub(_shown, cell_text(cell))) for cell in row))
    Console(file=sys.stdout, no_color=not is_coloured(sys.stdout), highlight=False).print(table)


def _plain(value: object) -> object:
    """Give a value that JSON has; exact numbers and times become text rather than lose digits."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else str(value)
    if isinstance(value, Path | UUID):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if isinstance(value, set | frozenset):
        return sorted(cast("set[Any]", value), key=str)
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json", by_alias=True)
    return str(value)
