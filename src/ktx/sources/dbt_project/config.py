"""`dbt_project.yml`: where things are, and the settings that folders give to what lies in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from ktx.sources.dbt_project.jinja import render_static
from ktx.sources.dbt_project.plain import as_flag, as_map, as_text, as_texts

PROJECT_FILES: Final = ("dbt_project.yml", "dbt_project.yaml")
_SETTINGS: Final = frozenset(
    {"enabled", "materialized", "schema", "database", "project", "dataset", "alias", "tags", "meta", "target_schema", "target_database"}
)  # fmt: skip
TEST_SETTINGS: Final = ("where", "severity", "limit", "fail_calc", "error_if", "enabled")
_RENAMED: Final[Mapping[str, str]] = {"project": "database", "dataset": "schema"}


@dataclass(frozen=True, kw_only=True)
class ProjectConfig:
    """The parts of `dbt_project.yml` that say what is where. `settings` are the trees under `models:`, `seeds:` and so on."""

    name: str = "project"
    model_paths: tuple[str, ...] = ("models",)
    seed_paths: tuple[str, ...] = ("seeds",)
    snapshot_paths: tuple[str, ...] = ("snapshots",)
    test_paths: tuple[str, ...] = ("tests",)
    other_paths: tuple[str, ...] = ("analyses", "macros")
    docs_paths: tuple[str, ...] = ()
    target_path: str = "target"
    variables: Mapping[str, object] = field(default_factory=dict[str, object])
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])

    @property
    def yaml_paths(self) -> tuple[str, ...]:
        """The folders whose YAML files describe things."""
        return (
            *self.model_paths,
            *self.seed_paths,
            *self.snapshot_paths,
            *self.test_paths,
            *self.other_paths,
        )

    @property
    def all_docs_paths(self) -> tuple[str, ...]:
        """The folders whose Markdown files may hold docs blocks."""
        return self.docs_paths or self.yaml_paths


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that hold for one node, from its folders, its YAML entry and its own file; later ones win.

    None means: not said, or not known without running dbt.
    """

    is_enabled: bool = True
    materialized: str = ""
    schema: str | None = None
    database: str | None = None
    alias: str | None = None
    target_schema: str | None = None
    target_database: str | None = None
    tags: tuple[str, ...] = ()
    meta: Mapping[str, object] = field(default_factory=dict[str, object])


def read_project_config(value: object) -> ProjectConfig:
    """Take what `dbt_project.yml` says; old spellings (`source-paths`, `data-paths`) count too."""
    data = as_map(value)
    name = as_text(data.get("name")) or "project"
    variables = as_map(data.get("vars"))
    own = as_map(variables.get(name))
    target = as_text(data.get("target-path")) or "target"
    return ProjectConfig(
        name=name,
        model_paths=_paths(data, "model-paths", "source-paths", default=("models",)),
        seed_paths=_paths(data, "seed-paths", "data-paths", default=("seeds",)),
        snapshot_paths=_paths(data, "snapshot-paths", default=("snapshots",)),
        test_paths=_paths(data, "test-paths", default=("tests",)),
        other_paths=(
            *_paths(data, "analysis-paths", default=("analyses",)),
            *_paths(data, "macro-paths", default=("macros",)),
        ),
        docs_paths=_paths(data, "docs-paths", default=()),
        target_path=_inside(target) or "target",
        variables={**{key: one for key, one in variables.items() if not isinstance(one, dict)}, **own},
        settings={
            kind: as_map(data.get(kind))
            for kind in ("models", "seeds", "snapshots", "sources", "tests", "data_tests")
            if data.get(kind)
        },
    )


def is_under(path: str, folders: tuple[str, ...]) -> bool:
    """Tell whether a path lies in one of the folders; `.` holds everything."""
    return any(folder in {"", "."} or path.startswith(f"{folder}/") for folder in folders)


def below(path: str, folders: tuple[str, ...]) -> tuple[str, ...]:
    """Give the parts of a path below the folder that holds it, its ending left out."""
    for folder in folders:
        if is_under(path, (folder,)):
            rest = path if folder in {"", "."} else path[len(folder) + 1 :]
            parts = PurePosixPath(rest).parts
            return (*parts[:-1], PurePosixPath(parts[-1]).stem)
    return (PurePosixPath(path).stem,)


def settings_for(
    config: ProjectConfig, kind: str, parts: tuple[str, ...], *layers: Mapping[str, object]
) -> Settings:
    """Give the settings of a node: `parts` are its folders and name, `layers` its own configurations, nearest last."""
    tree = config.settings.get(kind, {})
    found = [_level(tree)]
    for root in (tree, as_map(tree.get(config.name))):
        at: Mapping[str, object] = root
        if root is not tree:
            found.append(_level(at))
        for part in parts:
            at = as_map(at.get(part))
            if not at:
                break
            found.append(_level(at))
    found.extend(_level(layer) for layer in layers)
    merged: dict[str, object] = {}
    tags: list[str] = []
    meta: dict[str, object] = {}
    for level in found:
        tags.extend(as_texts(level.pop("tags", None)))
        meta.update(as_map(level.pop("meta", None)))
        merged.update(level)

    def text(key: str) -> str | None:
        return render_static(as_text(merged.get(key)), config.variables) or None

    return Settings(
        is_enabled=_enabled(merged.get("enabled"), config),
        materialized=text("materialized") or "",
        schema=text("schema"),
        database=text("database"),
        alias=text("alias"),
        target_schema=text("target_schema"),
        target_database=text("target_database"),
        tags=tuple(dict.fromkeys(tags)),
        meta=meta,
    )


def defaults_of_tests(config: ProjectConfig, path: str) -> dict[str, object]:
    """Give the settings that `dbt_project.yml` has for the generic tests of a YAML file."""
    parts = below(path, config.yaml_paths)[:-1]
    found: dict[str, object] = {}
    for kind in ("tests", "data_tests"):
        tree = config.settings.get(kind, {})
        levels = [tree, as_map(tree.get(config.name))]
        for part in parts:
            levels.append(as_map(levels[-1].get(part)))
        for level in levels:
            for key, value in level.items():
                name = key.removeprefix("+")
                if name in TEST_SETTINGS and not isinstance(value, dict):
                    found[name] = value
    return found


def _enabled(value: object, config: ProjectConfig) -> bool:
    if isinstance(value, str):
        value = render_static(value, config.variables)
    return as_flag(value, default=True)


def _level(data: Mapping[str, object]) -> dict[str, object]:
    """Give the settings of one level: keys with `+`, and known ones without, unless they name a folder."""
    found: dict[str, object] = {}
    for key, value in data.items():
        name = key.removeprefix("+")
        if name in _SETTINGS and (key != name or not isinstance(value, dict) or name == "meta"):
            found[_RENAMED.get(name, name)] = value
    return found


def _paths(data: Mapping[str, object], *keys: str, default: tuple[str, ...]) -> tuple[str, ...]:
    for key in keys:
        if key in data:
            return tuple(dict.fromkeys(path for text in as_texts(data[key]) if (path := _inside(text))))
    return default


def _inside(text: str) -> str | None:
    """Give a relative path without `..` in plain form, None for any other."""
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in text:
        return None
    return path.as_posix()
