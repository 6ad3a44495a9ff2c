"""Which numbers get a sum, an average, or nothing by themselves."""

import pytest

from ktx.semantic.implicit import additivity


@pytest.mark.parametrize(
    "name",
    [
        "amount", "net_amount", "discountAmount", "price_total", "order_value", "tax", "qty", "quantity", "item_count", "num_orders",
        "n_clicks", "number_of_items", "distance", "air_time", "dep_delay", "duration_ms", "precip", "Betrag", "importe_total",
    ],
)  # fmt: skip
def test_what_is_named_as_a_part_of_a_whole_is_summed(name: str) -> None:
    assert additivity(name) == "sum"


@pytest.mark.parametrize(
    "name",
    ["unit_price", "price", "tax_rate", "temp", "wind_gust", "humid", "avg_distance", "score", "unitCost", "account_balance"],
)  # fmt: skip
def test_what_has_no_total_is_only_averaged(name: str) -> None:
    assert additivity(name) == "average"


@pytest.mark.parametrize(
    "name",
    [
        "flight", "tz", "alt", "lat", "lon", "year", "birth_year", "zip", "store_no", "line_no", "customer_ref", "engines", "seats",
        "wind_dir", "hour", "sched_dep_time", "utc_offset", "house_number", "batch", "sequence", "x1", "dst", "gender",
    ],
)  # fmt: skip
def test_a_number_that_names_or_places_something_or_says_nothing_has_no_measure(name: str) -> None:
    assert additivity(name) == "neither"
