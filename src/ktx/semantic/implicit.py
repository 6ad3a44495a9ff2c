"""Measures that every scanned table has without anyone writing them: its rows, and sums and averages of what adds up.

They are derived when a manifest table becomes a source, and never stored. A declared measure of the same name wins.
Whether a number adds up is judged by its column's name, which must say so: when in doubt there is no implicit measure, since
a person can declare one in a line, while a sum of flight numbers or of time zones looks like an answer.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Tokenizer

from ktx.catalog import ColumnKind
from ktx.names import words

Additivity = Literal["sum", "average", "neither"]

ROW_COUNT = "row_count"


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_IDENTIFYING = _set(
    "id ids key pk fk code codes no nr number uuid guid hash zip zipcode postal postcode phone fax ean isbn sku flight "
    "lat latitude lon lng longitude x y z alt altitude elevation tz timezone offset utc dst "
    "year yr quarter qtr month week day dow doy hour minute second date time epoch timestamp "
    "rank position version revision line sequence seq flag type kind status category class dir direction"
)
"""A last word that says: this number names or places something."""
_INTENSIVE = _set(
    "rate rates ratio percent percentage pct share score rating ratings age avg average mean median min max minimum maximum "
    "stddev variance index temp temperature humid humidity dewp pressure speed gust velocity visib visibility density level "
    "balance stock inventory capacity probability confidence factor multiplier per price margin salary wage "
    "height width depth length weight satisfaction nps preis precio prix latency utilization"
)
"""A word anywhere in the name that says: this number has an average, but no total."""
_ADDITIVE = _set(
    "amount amt total totals sum subtotal revenue sales turnover income earnings gmv proceeds cost costs expense expenses spend "
    "spending fee fees charge charges commission commissions tax taxes vat discount discounts tip tips refund refunds refunded "
    "credit credits debit debits payment payments paid payout payouts profit loss losses premium premiums donation value val "
    "freight shipping handling surcharge toll fare fares "
    "quantity qty count cnt counts units pieces copies distance miles mileage km kilometers kilometres meters metres "
    "duration delay delays downtime uptime hours minutes seconds days milliseconds ms secs mins hrs "
    "bytes kb mb gb tokens clicks impressions views pageviews visits sessions downloads installs signups conversions leads "
    "purchases orders returns cancellations passengers guests attendees calls messages errors requests hits retries "
    "goals wins runs steps calories kwh energy precip precipitation rainfall snowfall emissions co2 "
    "betrag summe umsatz menge anzahl kosten rabatt steuer gewinn importe monto cantidad ventas costo coste descuento impuesto "
    "montant quantite nombre ventes cout remise quantidade valor"
)
"""A word that says: this number counts or measures something whose parts make a whole."""
_DURATIONS = _set("air run lead wait elapsed processing response cycle idle duration")


@dataclass(frozen=True, kw_only=True)
class ImplicitMeasure:
    """A derived measure: its name, its expression over bare column names, and a sentence for people."""

    name: str
    expr: str
    description: str


def implicit_measures(
    columns: Sequence[tuple[str, ColumnKind | None]], *, keys: Collection[str], taken: Collection[str]
) -> tuple[ImplicitMeasure, ...]:
    """Give the implicit measures of a table.

    `keys` are columns of the primary key or of a join, on either side; `taken` are names that people gave to measures.

    >>> [m.name for m in implicit_measures([("id", "number"), ("amount", "number"), ("tax_rate", "number")],
    ...                                    keys={"id"}, taken={"avg_amount"})]
    ['row_count', 'sum_amount', 'avg_tax_rate']
    """
    found = [ImplicitMeasure(name=ROW_COUNT, expr="count(*)", description="Number of rows.")]
    for name, kind in columns:
        if kind != "number" or name in keys or not _is_plain(name):
            continue
        how = additivity(name)
        if how == "sum":
            found.append(
                ImplicitMeasure(name=f"sum_{name}", expr=f"sum({name})", description=f"Sum of `{name}`.")
            )
        if how != "neither":
            found.append(
                ImplicitMeasure(name=f"avg_{name}", expr=f"avg({name})", description=f"Average of `{name}`.")
            )
    used = set(taken)
    result: list[ImplicitMeasure] = []
    for measure in found:
        if measure.name not in used:
            used.add(measure.name)
            result.append(measure)
    return tuple(result)


def additivity(column: str) -> Additivity:
    """Judge from its name whether a numeric column may be summed, only averaged, or neither.

    >>> [additivity(name) for name in ("amount", "air_time", "num_items", "unitPrice", "conversion_rate")]
    ['sum', 'sum', 'sum', 'average', 'average']
    >>> [additivity(name) for name in ("dep_time", "zip", "flight", "tz", "seats", "alt")]
    ['neither', 'neither', 'neither', 'neither', 'neither', 'neither']
    """
    parts = words(column)
    if not parts:
        return "neither"
    last = next((part for part in reversed(parts) if not part.isdigit()), parts[-1])
    if last == "time" and _DURATIONS.intersection(parts):
        return "sum"
    if _is_count(parts):
        return "sum"
    if last in _IDENTIFYING:
        return "neither"
    if _INTENSIVE.intersection(parts):
        return "sum" if last in {"amount", "amt", "total"} else "average"
    if "unit" in parts and last in {"cost", "value", "amount"}:
        return "average"
    return "sum" if _ADDITIVE.intersection(parts) else "neither"


def _is_count(parts: Sequence[str]) -> bool:
    """Whether a name says that it counts: `num_items`, `n_orders`, `item_count`, `number_of_items`."""
    return len(parts) > 1 and (
        parts[0] in {"num", "n", "cnt", "count"} or tuple(parts[:2]) in {("number", "of"), ("no", "of")}
    )


def _is_plain(name: str) -> bool:
    """Tell whether the name can stand in an expression without quotes, on every engine's parser."""
    if not (name.isascii() and name.isidentifier()):
        return False
    if name.upper() not in Tokenizer.KEYWORDS:
        return True
    try:
        tree = parse_one(f"sum({name})")
    except SqlglotError:
        return False
    return isinstance(tree, exp.Sum) and isinstance(tree.this, exp.Column)
