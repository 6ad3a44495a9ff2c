"""Rows under headers as plain lines, for tables that stand inside a longer text."""

from collections.abc import Iterable, Iterator, Sequence


def aligned(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = (), indent: str = "  "
) -> Iterator[str]:
    """Give a line per row, headers first; `right` names the columns to align right. No rows give nothing."""
    kept = [tuple(row) for row in rows]
    if not kept:
        return
    at_right = {headers.index(name) for name in right}
    everything = [tuple(headers), *kept]
    widths = [max(len(row[at]) for row in everything) for at in range(len(headers))]
    for row in everything:
        cells = (
            f"{cell:>{width}}" if at in at_right else f"{cell:<{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield (indent + "  ".join(cells)).rstrip()
