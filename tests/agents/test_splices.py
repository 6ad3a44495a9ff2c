"""Random JSON in random layouts: an entry goes in as meant, and out again to the byte or by structure."""

import json
import random

import pytest

from ktx.agents import jsonc

KEYS = ("mcpServers", "ktx")
ENTRY = {"command": "ktx", "args": ["a"]}
BLANKS = ["", " ", "  ", "\n", "\n  ", "\t", "\r\n ", "// c }{\n", "/* , */"]
SCALARS = [1, -2.5, "a", '},{"x//', None, True, "ü\\", "/*", ""]
NAMES = ["mcpServers", "ktx", "b", "c d", 'e"f']


def value(chance: random.Random, depth: int) -> object:
    kind = chance.random()
    if depth > 3 or kind < 0.5:
        return chance.choice(SCALARS)
    if kind < 0.7:
        return [value(chance, depth + 1) for _ in range(chance.randrange(3))]
    return {chance.choice(NAMES): value(chance, depth + 1) for _ in range(chance.randrange(4))}


def layout(chance: random.Random, data: object) -> str:
    def blank() -> str:
        return chance.choice(BLANKS)

    if isinstance(data, dict):
        items = [
            f"{blank()}{json.dumps(name)}{blank()}:{blank()}{layout(chance, one)}{blank()}"
            for name, one in data.items()
        ]
        return "{" + ",".join(items) + ("," if items and chance.random() < 0.2 else "") + blank() + "}"
    if isinstance(data, list):
        return "[" + ",".join(f"{blank()}{layout(chance, one)}{blank()}" for one in data) + blank() + "]"
    return json.dumps(data)


@pytest.mark.parametrize("seed", range(20))
def test_an_entry_goes_in_as_meant_and_out_again(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        data = {name: value(chance, 1) for name in chance.sample(NAMES, chance.randrange(4))}
        servers = data.get("mcpServers", {})
        text = chance.choice(BLANKS) + layout(chance, data) + chance.choice(BLANKS)
        assert jsonc.value_at(text, ()) == data
        if not isinstance(servers, dict):
            with pytest.raises(jsonc.MalformedError, match="no object"):
                jsonc.with_key(text, KEYS, ENTRY)
            continue
        edit = jsonc.with_key(text, KEYS, ENTRY)
        assert jsonc.value_at(edit.text, ()) == {**data, "mcpServers": {**servers, "ktx": ENTRY}}
        assert edit.text.replace(edit.after, edit.before, 1) == text
        left = jsonc.without_key(edit.text, KEYS, keep=int("mcpServers" in data))
        others = {name: one for name, one in servers.items() if name != "ktx"}
        assert jsonc.value_at(left, ()) == data | ({"mcpServers": others} if "mcpServers" in data else {})
