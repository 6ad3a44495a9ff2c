"""`ktx llm`: which model does which job, does it work, what did it cost, what would it say."""

import functools
import sys
from typing import get_args

import anyio
import click

from ktx.cli.options import json_option, project_option, read_given
from ktx.cli.render.data import write_json, write_table, write_text
from ktx.cli.render.narrate import say
from ktx.cli.render.progress import say_event
from ktx.project import Project
from ktx.serve.models import (
    GroupBy,
    Inspection,
    UsageAnswer,
    UsageRow,
    check_models,
    list_models,
    parse_role,
    read_usage,
    try_role,
)

_MARKS = {"ok": "ok", "no": "NO", "unknown": "-"}


@click.group()
def llm() -> None:
    """Show, try and account for the language models of this project."""


@llm.command()
@project_option
@json_option
def models(*, project: Project, as_json: bool) -> None:
    """Show which backend and model does each job, and where that is written."""
    rows = list_models(project)
    if as_json:
        write_json(list(rows))
        return
    write_table(
        ("role", "backend", "model", "then", "from", "for"),
        [(row.role, row.backend, row.model, ", ".join(row.fallbacks), row.why, row.purpose) for row in rows],
    )


@llm.command()
@click.option("--role", help="Only the models of this role.")
@project_option
@json_option
def check(*, project: Project, role: str | None, as_json: bool) -> int:
    """Try each model live: reachable, structured answers, tools; will its cache engage; its price.

    Sends three small requests per model. Exits with 1 when one of them is not usable.
    """
    wanted = parse_role(role) if role else None
    found = anyio.run(functools.partial(check_models, project, role=wanted, emit=say_event))
    if as_json:
        write_json([{**_plain(one), "usable": one.is_usable} for one in found])
    else:
        for one in found:
            write_text(_line(one))
            for fix in _fixes(one):
                write_text(f"    -> {fix}")
    return 0 if all(one.is_usable for one in found) else 1


@llm.command()
@click.option("--by", type=click.Choice(get_args(GroupBy)), help="One line for each.")
@click.option("--days", type=click.IntRange(min=1), help="Only the last so many days.")
@project_option
@json_option
def usage(*, project: Project, by: GroupBy | None, days: int | None, as_json: bool) -> None:
    """Show what was asked of models and what it cost, from the project's own ledger."""
    answer = read_usage(project, by=by, days=days)
    if as_json:
        write_json(answer)
        return
    if answer.total.requests == 0:
        say("No model has been asked yet.")
        return
    _draw_usage(answer)


@llm.command("try")
@click.option("--role", default="default", show_default=True, help="The job whose model is asked.")
@click.argument("text")
@project_option
@json_option
def try_(*, project: Project, role: str, text: str, as_json: bool) -> None:
    """Ask the model of a role something. `-` reads the text from standard input."""
    asked = read_given(sys.stdin) if text == "-" else text
    tried = anyio.run(functools.partial(try_role, project, parse_role(role), asked, emit=say_event))
    if as_json:
        write_json(tried)
        return
    write_text(tried.text)
    took = tried.usage
    cost = "" if took.cost_usd is None else f", {_usd(took.cost_usd)}"
    read = f" ({took.cache_read_tokens:,} from cache)" if took.cache_read_tokens else ""
    total = took.uncached_input_tokens + took.cache_write_tokens + took.cache_read_tokens
    say(
        f"{tried.backend} · {tried.model} · {total:,} tokens in{read}, {took.output_tokens:,} out · {took.duration_s:.1f} s{cost}"
    )


def _line(one: Inspection) -> str:
    traits = (
        ("reachable", one.reachable),
        ("structured", one.structured),
        ("tools", one.tools),
        ("cache", one.cache),
        ("price", one.price),
    )
    said = " · ".join(f"{name} {_MARKS[trait.status]}: {trait.detail}" for name, trait in traits)
    return f"{one.choice} ({', '.join(one.roles)}) · {said}"


def _fixes(one: Inspection) -> list[str]:
    traits = (one.reachable, one.structured, one.tools, one.cache)
    return list(dict.fromkeys(trait.fix for trait in traits if trait.status == "no" and trait.fix))


def _plain(one: Inspection) -> dict[str, object]:
    traits = ("reachable", "structured", "tools", "cache", "price")
    return {
        "backend": one.choice.backend,
        "model": one.choice.model,
        "roles": list(one.roles),
        **{name: getattr(one, name) for name in traits},
    }


def _draw_usage(answer: UsageAnswer) -> None:
    headers = (
        answer.by or "",
        "requests",
        "failed",
        "input",
        "written",
        "read",
        "hit rate",
        "output",
        "cost",
        "saved",
        "time",
    )
    rows = [*answer.rows, answer.total] if answer.rows else [answer.total]
    write_table(headers, [_cells(row) for row in rows], right=headers[1:])
    if answer.total.cost_usd is not None:
        say(
            f"Costs are list prices of {answer.prices_as_of} in US dollars; `saved` is what prompt caching saved."
        )
    if answer.total.unpriced_requests:
        say(f"{answer.total.unpriced_requests} requests went to models without a known price.")


def _cells(row: UsageRow) -> tuple[str, ...]:
    return (
        row.key,
        f"{row.requests:,}",
        f"{row.failures:,}",
        f"{row.uncached_input_tokens:,}",
        f"{row.cache_write_tokens:,}",
        f"{row.cache_read_tokens:,}",
        "" if row.hit_rate is None else f"{row.hit_rate:.0%}",
        f"{row.output_tokens:,}",
        "" if row.cost_usd is None else _usd(row.cost_usd),
        "" if row.saved_usd is None else _usd(row.saved_usd),
        f"{row.duration_s:.1f} s",
    )


def _usd(amount: float) -> str:
    """Show cents as cents, and smaller amounts with two digits that count."""
    sign = "-" if amount < 0 else ""
    size = abs(amount)
    return (
        f"{sign}${size:.2f}"
        if size >= 1 or size == 0
        else f"{sign}${size:.4f}"
        if size >= 0.01
        else f"{sign}${size:.2g}"
    )
