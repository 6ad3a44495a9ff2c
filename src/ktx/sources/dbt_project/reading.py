"""What is known while the files of a project are read: its settings, its docs blocks, and the YAML entries of its nodes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ktx.sources.dbt_project.config import ProjectConfig, read_project_config
from ktx.sources.dbt_project.jinja import render_docs, render_static
from ktx.sources.dbt_project.parts import read_column
from ktx.sources.dbt_project.plain import as_list, as_map, as_maps, as_text, is_map
from ktx.sources.dbt_project.project import ColumnDoc, DocsBlock, Remark
from ktx.sources.dbt_project.yaml11 import YamlError, parse_yaml
from ktx.sources.evidence import Document


@dataclass(kw_only=True)
class Reading:
    """What is known while the files are read."""

    config: ProjectConfig
    blocks: Mapping[str, DocsBlock]
    used: set[str] = field(default_factory=set[str])
    patches: dict[tuple[str, str], tuple[str, dict[str, object]]] = field(
        default_factory=dict[tuple[str, str], tuple[str, dict[str, object]]]
    )
    remarks: list[Remark] = field(default_factory=list[Remark])

    def described(self, value: object) -> str:
        """Give a description with its docs blocks put in."""
        text, used = render_docs(as_text(value), {name: block.text for name, block in self.blocks.items()})
        self.used.update(used)
        return text.strip()

    def patch(self, kind: str, name: str) -> tuple[str | None, dict[str, object]]:
        """Give the YAML entry of a node, and its file."""
        return self.patches.get((kind, name)) or (None, dict[str, object]())

    def static(self, value: object) -> str | None:
        """Give text that needs no run of dbt, None when there is none or it does."""
        return render_static(as_text(value), self.config.variables) or None


def yaml_value(document: Document) -> object:
    """Give the value of a YAML document; None when it cannot be read."""
    if document.data is not None:
        return document.data
    try:
        return parse_yaml(document.text)
    except YamlError:
        return None


def project_config(documents: Iterable[Document]) -> ProjectConfig:
    """Give what `dbt_project.yml` says; without one, every folder may hold models."""
    found = next((one for one in documents if one.kind == "project"), None)
    return ProjectConfig(model_paths=(".",)) if found is None else read_project_config(yaml_value(found))


def documented(value: object, reading: Reading) -> object:
    """Put docs blocks into the descriptions of a raw entry, its parts' too."""
    if is_map(value):
        return {
            key: reading.described(one)
            if key == "description" and isinstance(one, str)
            else documented(one, reading)
            for key, one in as_map(value).items()
        }
    if isinstance(value, list):
        return [documented(one, reading) for one in as_list(value)]  # pyright: ignore[reportUnknownArgumentType]
    return value


def columns_of(entry: Mapping[str, object], reading: Reading) -> tuple[ColumnDoc, ...]:
    """Give the columns of an entry, the first of two equal names."""
    found: dict[str, ColumnDoc] = {}
    for one in as_maps(entry.get("columns")):
        made = read_column(one, reading.described(one.get("description")))
        if made is not None:
            found.setdefault(made.name, made)
    return tuple(found.values())
