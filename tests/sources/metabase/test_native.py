"""Native SQL with its markup filled."""

import pytest

from ktx.sources.metabase.native import Filled, Sources, Unresolved, fill

_PARTS = Sources(
    card={7: Filled(sql="SELECT 1 AS a", cards=(3,))}.__getitem__,
    snippet={"paid": "status = {{state}}", "loop": "{{snippet: loop}}"}.get,
    field={5: "orders.channel"}.get,
)
_STATE = {"state": {"name": "state", "type": "text", "default": "it's paid"}}


def test_a_reference_becomes_the_other_cards_sql() -> None:
    for text in ("SELECT * FROM {{#7}} x", "SELECT * FROM {{ #7-orders-by-day }} x"):
        filled = fill(text, {}, _PARTS)
        assert filled.sql == "SELECT * FROM (SELECT 1 AS a) x"
        assert filled.cards == (3, 7)


def test_a_card_tag_without_a_number_in_its_name_is_a_reference_too() -> None:
    assert (
        fill("FROM {{base}}", {"base": {"type": "card", "card-id": 7}}, _PARTS).sql == "FROM (SELECT 1 AS a)"
    )


def test_defaults_are_filled_with_quotes_that_hold() -> None:
    assert fill("a = {{state}}", _STATE, _PARTS).sql == "a = 'it''s paid'"
    assert fill("n > {{x}}", {"x": {"type": "number", "default": "5"}}, _PARTS).sql == "n > 5"
    assert fill("n IN ({{x}})", {"x": {"type": "number", "default": [1, 2.5]}}, _PARTS).sql == "n IN (1, 2.5)"


def test_an_optional_block_stays_only_when_all_its_variables_have_values() -> None:
    text = "WHERE TRUE [[AND a = {{state}}]] [[AND b = {{other}} AND a = {{state}}]]"
    filled = fill(text, _STATE, _PARTS)
    assert filled.sql == "WHERE TRUE AND a = 'it''s paid'"
    assert {one.name: one.state for one in filled.variables}["other"] == "left out"


def test_a_needed_variable_is_named_and_not_invented() -> None:
    filled = fill("d = {{the day}}", {"the day": {"type": "date", "required": True}}, _PARTS)
    assert filled.sql == "d = :the_day"
    assert [(one.name, one.kind, one.state) for one in filled.variables] == [("the day", "date", "needed")]


def test_a_field_filter_is_open_without_a_default_and_a_condition_with_one() -> None:
    tag = {"type": "dimension", "dimension": ["field", 5, None], "widget-type": "string/="}
    assert fill("{{c}}", {"c": tag}, _PARTS).sql == "1 = 1"
    assert fill("{{c}}", {"c": {**tag, "default": ["web"]}}, _PARTS).sql == "orders.channel IN ('web')"
    mbql5 = {**tag, "dimension": ["field", {"lib/uuid": "x"}, 5], "default": "web"}
    assert fill("{{c}}", {"c": mbql5}, _PARTS).sql == "orders.channel IN ('web')"


def test_a_snippet_is_filled_with_its_own_variables() -> None:
    assert fill("{{snippet: paid}}", _STATE, _PARTS).sql == "status = 'it''s paid'"


def test_comments_go_with_their_markup_and_quoted_dashes_stay() -> None:
    text = "SELECT '--', '/*' -- {{x}} [[\n/* {{#99}} */ FROM a -- end"
    assert " ".join(fill(text, {}, _PARTS).sql.split()) == "SELECT '--', '/*' FROM a"


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("[[ a", {}),
        ("[[ a [[ b ]] ]]", {}),
        ("{{snippet: lost}}", {}),
        ("{{snippet: loop}}", {}),
        ("{{x}}", {"x": {"type": "number", "default": "1; DROP TABLE a"}}),
        (
            "{{x}}",
            {
                "x": {
                    "type": "dimension",
                    "dimension": ["field", 5, None],
                    "widget-type": "date/range",
                    "default": "past30days",
                }
            },
        ),
    ],
)
def test_what_cannot_be_put_together_is_refused(text: str, tags: dict[str, object]) -> None:
    with pytest.raises(Unresolved):
        fill(text, tags, _PARTS)
