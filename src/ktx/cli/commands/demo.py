"""`ktx demo`: the main job, end to end, on real data and with no key."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import click

from ktx.cli.options import json_option
from ktx.cli.render.data import cell_text, write_json, write_text
from ktx.cli.render.ingest import ingest_json, ingest_text
from ktx.cli.render.progress import drawn_events
from ktx.cli.render.sources import source_json, source_text
from ktx.demo.run import Answer, DemoReport, run_demo


@click.command()
@click.argument(
    "directory", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default="ktx-demo"
)
@json_option
def demo(*, directory: Path, as_json: bool) -> int:
    """Make a demo project in DIR (default ktx-demo), ingest it, and answer a question that naive SQL gets wrong.

    The warehouse is a DuckDB file with the flights out of New York in 2013 and a small shop; a dbt project describes the shop. Nothing is
    fetched.
    """
    with drawn_events(is_plain=as_json) as emit:
        report = run_demo(directory.expanduser().resolve(), emit=emit)
    if as_json:
        write_json(_as_json(report))
    else:
        write_text("\n".join(_lines(report, directory)))
    return report.ingest.exit_code


def _as_json(report: DemoReport) -> dict[str, object]:
    return {
        "projectDir": report.root,
        "isNew": report.is_new,
        "ingest": None if report.ingest.warehouses is None else ingest_json(report.ingest.warehouses),
        "sources": [source_json(one) for one in report.ingest.sources],
        "question": dict(report.question),
        "naive": {"sql": report.naive_sql, **_rows_json(report.naive_answer)},
        "compiled": {"sql": report.compiled_sql, **_rows_json(report.answer)},
    }


def _rows_json(rows: Answer) -> dict[str, object]:
    return {"headers": list(rows.headers), "rows": [list(row) for row in rows.rows]}


def _lines(report: DemoReport, directory: Path) -> Iterator[str]:
    if report.ingest.warehouses is not None:
        yield ingest_text(report.ingest.warehouses, is_wide=True)
    for source in report.ingest.sources:
        yield source_text(source, is_wide=True)
    yield "The question: revenue, refunds and order lines by customer segment."
    yield ""
    yield "Naive SQL joins everything and adds up. Lines multiply refunds and refunds multiply lines:"
    yield ""
    yield from _indented(report.naive_sql)
    yield ""
    yield from _table(report.naive_answer)
    yield ""
    yield "ktx adds up each table at its own grain before it joins:"
    yield ""
    yield from _indented(report.compiled_sql)
    yield ""
    yield from _table(report.answer)
    yield ""
    yield from _difference(report)
    yield ""
    yield "What next:"
    yield f"  cd {directory}"
    for command, why in (
        (
            "ktx sl query --measure order_items.revenue --dimension orders.channel --execute",
            "ask another question",
        ),
        ("ktx sl flights", "look around; try `ktx wiki refunds` too"),
        ("ktx ingest --file notes/active-buyers.md", "remember what somebody wrote down"),
        ('ktx context "active buyers by segment"', "the metric from dbt, and the caveat from the note"),
        ("ktx review", "decide about the joins that ktx is not sure of"),
        ("ktx scan explain flights.carrier", "see why a join was found"),
        ("ktx ingest", "scan again: nothing changed, so nothing is written"),
    ):
        yield f"  {command:<84} {why}"
    yield "  Your own warehouse: `ktx admin init` in a new folder, then name it in ktx.yaml and run `ktx ingest`."


def _difference(report: DemoReport) -> Iterator[str]:
    for place, column in enumerate(report.answer.headers[1:], start=1):
        right = sum(Decimal(str(row[place])) for row in report.answer.rows)
        naive = sum(Decimal(str(row[place])) for row in report.naive_answer.rows)
        if right and naive != right:
            yield f"    {column}: {right:,} in all; naive SQL says {naive:,}, {naive / right - 1:.0%} too much."


def _indented(text: str) -> Iterator[str]:
    return (f"    {line}" for line in text.splitlines())


def _table(rows: Answer) -> Iterator[str]:
    cells = [
        list(rows.headers),
        *([_number(cell) for cell in row] for row in rows.rows),
    ]
    widths = [max(len(line[place]) for line in cells) for place in range(len(rows.headers))]
    for line in cells:
        first = line[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        yield "    " + "  ".join((first, *rest))


def _number(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int | Decimal) else cell_text(cell)
