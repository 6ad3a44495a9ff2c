"""What the sample project gives, as text to compare. `PYTHONPATH=src:tests python tests/sources/dbt/golden.py` writes it anew."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from ktx.sources.source import Interpretation

FILE = Path(__file__).parent / "golden.json"


def shown(got: Interpretation) -> str:
    """Give everything but the bodies of pages as JSON, what is empty left out."""
    data = {
        "definitions": {one.name: _slim(dataclasses.asdict(one)) for one in got.definitions},
        "pages": {one.key: _slim(dataclasses.asdict(one)) for one in got.pages},
        "units": {one.key: _slim(dataclasses.asdict(one)) for one in got.units},
        "unmapped": [f"{one.evidence}: {one.what}: {one.reason}: {one.detail}" for one in got.unmapped],
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _slim(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _slim(one)
            for key, one in value.items()
            if one not in (None, (), "", {}, False) and key not in {"author", "connection_id"}
        }
    return [_slim(one) for one in value] if isinstance(value, list | tuple) else value


def _main() -> None:
    from ktx.sources.dbt.source import DbtSource
    from ktx.sources.tree import Tree
    from sampleprojects.dbt_shop import PROJECT, build_warehouse
    from sources.landing import read_target

    with tempfile.TemporaryDirectory() as folder:
        build_warehouse(Path(folder) / "shop.duckdb")
        target = read_target(Path(folder) / "shop.duckdb")
    source = DbtSource(open_tree=lambda: Tree(root=PROJECT), connection_id="dbt")
    FILE.write_text(shown(source.interpret(source.fetch(emit=lambda _: None), [target])), encoding="utf-8")


if __name__ == "__main__":
    _main()
