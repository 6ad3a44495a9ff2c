"""The table of `docs/reference/dialects.md`, made from the facts: `python tests/compile/dialect_table.py` writes it."""

from pathlib import Path

from sqlglot import exp

from ktx.semantic.aggregates import finished
from ktx.semantic.dialects import FACTS, truncated
from ktx.semantic.expressions import parse_expression

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "dialects.md"
RUN = {"duckdb", "sqlite", "postgres", "mysql"}


def render() -> str:
    lines = [
        "# Dialects",
        "",
        "Expressions are written in the warehouse's own dialect and printed in that dialect; nothing is translated. What the compiler adds",
        "by itself differs as below. *Run* dialects execute every case of `tests/compile/cases` in the tests (`mysql` on MariaDB); for the",
        "others the SQL is checked by parsing it. This page is made by `python tests/compile/dialect_table.py`.",
        "",
        "| dialect | run | week of `x` | `x / y` | descending | 90th percentile | through time |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, facts in FACTS.items():
        x = exp.column("x")
        week = truncated(x, "week", facts).sql(name)
        division = parse_expression("x / y", name)
        ordered = exp.Ordered(this=exp.column("x"), desc=True, nulls_first=False)
        order = exp.select("x").from_("t").order_by(ordered)
        percentile = "from ranked rows"
        if facts.percentile != "ranked":
            call = exp.PercentileCont(this=exp.column("x"), expression=exp.Literal.number("0.9"))
            percentile = f"`{finished(call, facts).sql(name)}`"
        through = "yes" if facts.period_index else "refused"
        run = "yes" if name in RUN else "no"
        cells = [
            name,
            run,
            f"`{week}`",
            f"`{division.sql(name)}`",
            f"`{order.sql(name).partition('ORDER BY ')[2]}`",
            percentile,
            through,
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += [
        "",
        "The same everywhere: identifiers are quoted; facts are put together by UNION ALL and GROUP BY, never by FULL JOIN; a limit reads one row",
        "more than asked. ClickHouse statements set `join_use_nulls = 1`, so that a missing match is NULL and not an empty text. ClickHouse has no",
        "correlated EXISTS that could be relied on, so a filter over a one-to-many step is refused there.",
        "",
        "## Aggregates that an engine lacks",
        "",
        "A measure that needs one of these is refused.",
        "",
        "| dialect | missing |",
        "|---|---|",
    ]
    for name, facts in FACTS.items():
        if facts.missing:
            lines.append(f"| {name} | {', '.join(sorted(facts.missing))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render())
