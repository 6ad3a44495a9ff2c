"""The JSON Schema of ktx.yaml, for editors: draft-07, with every spelling that is read."""

from collections.abc import Mapping
from typing import cast

from ktx.config.block import Block, documented_key, known_keys
from ktx.config.model import KtxConfig

SCHEMA_ID = "https://ktx.dev/schemas/ktx-project-config.json"


def config_schema() -> dict[str, object]:
    """Give the schema. Other spellings of a key are listed beside it, so that editors accept what ktx reads."""
    schema = cast("dict[str, object]", KtxConfig.model_json_schema(ref_template="#/definitions/{model}"))
    definitions = cast("dict[str, dict[str, object]]", schema.pop("$defs"))
    blocks = {block.__name__: block for block in _all_blocks(Block)}
    for name, definition in definitions.items():
        _add_spellings(definition, blocks[name])
    _add_spellings(schema, KtxConfig)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": SCHEMA_ID,
        **schema,
        "title": "ktx.yaml",
        "definitions": definitions,
    }


def _all_blocks(top: type[Block]) -> set[type[Block]]:
    return {top}.union(*(_all_blocks(block) for block in top.__subclasses__()))


def _add_spellings(definition: dict[str, object], block: type[Block]) -> None:
    properties = cast("dict[str, Mapping[str, object]]", definition.get("properties", {}))
    required = cast("list[str]", definition.pop("required", []))
    choices: list[object] = []
    for key, field in known_keys(block).items():
        if key not in properties:
            documented = documented_key(block, field)
            properties[key] = {**properties[documented], "description": f"The same as `{documented}`."}
    for key in required:
        field = known_keys(block)[key]
        spellings = [spelling for spelling, name in known_keys(block).items() if name == field]
        choices.append({"anyOf": [{"required": [spelling]} for spelling in spellings]})
    if choices:
        definition["allOf"] = choices
