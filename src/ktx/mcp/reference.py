"""The public surface of the server as data and as a page: what clients can rely on, generated from the tools themselves."""

import json
from collections.abc import Mapping
from typing import Any, cast

from ktx.mcp.server import tool_entry
from ktx.mcp.tools import TOOLS, instructions


def surface() -> dict[str, Any]:
    """Give everything a client sees of the tools: names, descriptions, schemas, annotations, and the instructions."""
    tools = [tool_entry(tool).model_dump(mode="json", by_alias=True, exclude_none=True) for tool in TOOLS]
    return {
        "instructions": instructions(with_memory=False),
        "instructions_with_memory": instructions(with_memory=True),
        "tools": tools,
    }


def render_surface() -> str:
    """Render the surface as JSON in stable order, for a snapshot whose diff shows every change that clients will see."""
    return json.dumps(surface(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def render_reference() -> str:
    """Render the reference page."""
    lines = [
        "# MCP tools",
        "",
        "What `ktx mcp` offers to an agent. This page is generated from the tools; a test keeps it current.",
        "Every tool only reads, except `memory_ingest`. An answer comes as structured content and as the same JSON in text; a refusal",
        "is a result with `isError` and a sentence that says what to do. A tool that a project cannot use is not offered:",
        "`sql_execution` where every connection is `semantic-layer-only`; `memory_ingest` and its status without a language model, in a",
        "folder that cannot be written, or outside git.",
        "",
    ]
    for tool in TOOLS:
        lines += [f"## `{tool.name}`", "", tool.description, "", "| argument | type | |", "|---|---|---|"]
        schema = tool.input_schema()
        required = set(cast("list[str]", schema.get("required", [])))
        definitions = cast("Mapping[str, Mapping[str, Any]]", schema.get("$defs", {}))
        for name, field in cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {})).items():
            notes = ["required"] if name in required else []
            if name not in required and field.get("default") not in (None, [], {}):
                notes.append(f"default `{field['default']}`")
            if field.get("description"):
                notes.append(str(field["description"]))
            lines.append(
                f"| `{name}` | {_type(field, definitions)} | {'; '.join(notes)} |".replace("\n", " ")
            )
        if not schema.get("properties"):
            lines.append("| none | | |")
        output = cast("Mapping[str, Any]", tool.output_schema().get("properties", {}))
        lines += ["", f"Answer: {', '.join(f'`{name}`' for name in output)}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _type(field: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]]) -> str:
    """Write a JSON Schema type in a few words."""
    if "anyOf" in field:
        options = [_type(option, definitions) for option in cast("list[Mapping[str, Any]]", field["anyOf"])]
        return " or ".join(option for option in dict.fromkeys(options) if option != "null")
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        keys = cast("Mapping[str, Any]", definitions.get(name, {}).get("properties", {}))
        return "{" + ", ".join(keys) + "}"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in cast("list[object]", field["enum"]))
    if field.get("type") == "array":
        return f"list of {_type(cast('Mapping[str, Any]', field.get('items', {})), definitions)}"
    if "const" in field:
        return f"`{field['const']}`"
    extra = field.get("additionalProperties")
    if field.get("type") == "object" and isinstance(extra, Mapping):
        return f"map of name to {_type(cast('Mapping[str, Any]', extra), definitions)}"
    low, high = field.get("minimum"), field.get("maximum")
    span = f" {low} to {high}" if low is not None and high is not None else ""
    return f"{field.get('type', 'any')}{span}"
