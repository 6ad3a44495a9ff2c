"""A project's layer on disk, small, to put changes into."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ktx.ingest.artifact import Artifact, Json, page_artifact, source_artifact
from ktx.ingest.change import Change
from ktx.ingest.draft import Base, Draft, WarehouseFacts
from ktx.ingest.merge import Merged
from ktx.ingest.provenance import By

ORDERS = source_artifact("shop", "orders")
PAGE = page_artifact("revenue")
MANIFEST = """\
tables:
  orders:
    table: public.orders
    columns:
      - {name: id, type: number, pk: true}
      - {name: customer_id, type: number}
      - {name: status, type: string}
      - {name: amount, type: number}
      - {name: created_at, type: time}
  customers:
    table: public.customers
    columns:
      - {name: id, type: number, pk: true}
      - {name: country, type: string}
"""


def base_at(root: Path, *, files: Mapping[str, str] | None = None) -> Base:
    """Write files, relative to the project, beside a manifest of two tables, and read the project."""
    texts = {"semantic-layer/shop/_schema/public.yaml": MANIFEST, **(files or {})}
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return reread(root)


def reread(root: Path) -> Base:
    return Base(
        root=root,
        semantic_dir=root / "semantic-layer",
        wiki_dir=root / "wiki",
        warehouses={"shop": WarehouseFacts(connection_id="shop", dialect="duckdb")},
        connections=frozenset({"shop", "dbt", "lookml", "notes"}),
    )


def draft_at(root: Path, *, files: Mapping[str, str] | None = None) -> Draft:
    return Draft(base=base_at(root, files=files))


def change(
    entry: str,
    value: Json,
    *,
    source: str = "dbt",
    by: By = "import",
    unit: str = "import",
    artifact: Artifact = ORDERS,
    evidence: tuple[str, ...] = ("models/orders.yml",),
) -> Change:
    return Change(
        artifact=artifact, entry=entry, value=value, source=source, by=by, unit=unit, evidence=evidence
    )


def land(root: Path, merged: Merged) -> Draft:
    """Write what a merge gave to disk, and read the disk anew."""
    base = reread(root)
    for artifact, text in merged.texts.items():
        path = base.path(artifact)
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return Draft(base=reread(root))


def effects(merged: Merged) -> list[Any]:
    return [effect for _, effect in merged.effects]
