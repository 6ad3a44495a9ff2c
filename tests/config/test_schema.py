import json

import pytest
from jsonschema import Draft7Validator

from ktx.config.load import parse_config
from ktx.config.schema import SCHEMA_ID, config_schema


def test_the_schema_is_draft_7_under_its_id() -> None:
    schema = config_schema()
    Draft7Validator.check_schema(schema)
    assert (schema["$id"], schema["title"]) == (SCHEMA_ID, "ktx.yaml")


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"connections": {"m": {"driver": "metabase", "apiUrl": "u", "api_key_ref": "env:K"}}},
        {"connections": {"m": {"driver": "metabase", "apiUrl": "u"}}},
        {"connections": {"m": {"driver": "nope"}}},
        {"connections": {"m": {"driver": "postgres", "schema": "a", "max_connections": 0}}},
        {"llm": {"models": {"default": ["a", {"model": "b"}], "candidate_extraction": "c"}}},
        {"llm": {"models": {"default": [{}]}}},
        {"llm": {"promptCaching": {"systemTtl": "9h"}}},
        {"scan": {"relationships": {"validationBudget": "all"}}},
        {"scan": {"samples": "some"}},
    ],
)
def test_the_schema_and_the_loader_agree(data: dict[str, object]) -> None:
    config, _ = parse_config(json.dumps(data))
    assert Draft7Validator(config_schema()).is_valid(data) == (config is not None)
