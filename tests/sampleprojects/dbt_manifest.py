"""`manifest.json`, `catalog.json` and `semantic_manifest.json` as dbt writes them for the sample project, made without dbt or ktx.

The shapes follow dbt's published schema of manifest v12; version 7 leaves out what came later.
"""

import ast
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sampleprojects.dbt_shop import relation_of, source_relation

NAME = "lumen"
_DEFAULT_TEST_CONFIG = {
    "enabled": True, "alias": None, "schema": "dbt_test__audit", "database": None, "tags": [], "meta": {}, "group": None,
    "materialized": "test", "severity": "ERROR", "store_failures": None, "store_failures_as": None, "where": None, "limit": None,
    "fail_calc": "count(*)", "warn_if": "!= 0", "error_if": "!= 0",
}  # fmt: skip


def write_artifacts(folder: Path, *, version: int = 12) -> None:
    """Write the artifacts of a project folder into its `target/`."""
    made = _Parse(folder)
    manifest = made.manifest()
    if version < 10:
        _age(manifest, version)
    target = folder / "target"
    target.mkdir(exist_ok=True)
    (target / "manifest.json").write_text(json.dumps(manifest))
    (target / "catalog.json").write_text(json.dumps(made.catalog()))
    (target / "semantic_manifest.json").write_text(json.dumps(made.semantic_manifest(manifest)))


def _age(manifest: dict[str, Any], version: int) -> None:
    """Take out what manifests did not have before."""
    manifest["metadata"]["dbt_schema_version"] = f"https://schemas.getdbt.com/dbt/manifest/v{version}.json"
    del manifest["metadata"]["project_name"]
    for key in ("unit_tests", "saved_queries", "groups"):
        del manifest[key]
    for node in manifest["nodes"].values():
        for key in ("attached_node", "constraints", "contract", "access", "latest_version", "version"):
            node.pop(key, None)
        if node["resource_type"] == "test":
            node["refs"] = [[one["name"]] for one in node["refs"]]


class _Parse:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {
            path.relative_to(folder).as_posix(): YAML(typ="safe").load(path.read_text()) or {}
            for path in sorted(folder.rglob("*.yml"))
            if path.parts[-2] in {"seeds", "snapshots"} or "models" in path.parts
        }
        self.project = YAML(typ="safe").load((folder / "dbt_project.yml").read_text())
        self.docs: dict[str, tuple[str, str]] = {}
        for path in sorted(folder.glob("models/**/*.md")):
            for name, text in re.findall(
                r"\{% docs (\w+) %\}(.*?)\{% enddocs %\}", path.read_text(), flags=re.DOTALL
            ):
                self.docs[name] = (path.relative_to(folder).as_posix(), text.strip())
        self.patches = {
            (kind, entry["name"]): (path, entry)
            for path, data in self.files.items()
            for kind in ("models", "seeds", "snapshots")
            for entry in data.get(kind, [])
        }
        self.nodes: dict[str, Any] = {}
        self.disabled: dict[str, Any] = {}
        self.sources: dict[str, Any] = {}

    def manifest(self) -> dict[str, Any]:
        for path in sorted(self.folder.glob("models/**/*.sql")):
            self._model(path)
        for path in sorted(self.folder.glob("seeds/*.csv")):
            self._add("seed", path, path.stem, ("analytics_seeds", path.stem), "", {"materialized": "seed"})
        for path in sorted(self.folder.glob("snapshots/*.sql")):
            name = re.search(r"snapshot (\w+)", path.read_text()).group(1)  # type: ignore[union-attr]
            self._add(
                "snapshot", path, name, ("snapshots", name), path.read_text(), {"materialized": "snapshot"}
            )
        for path, data in self.files.items():
            for source in data.get("sources", []):
                for table in source["tables"]:
                    self._source(path, source, table)
        for (kind, name), (_, entry) in sorted(self.patches.items()):
            self._tests(f"{kind.removesuffix('s')}.{NAME}.{name}", entry, f"ref('{name}')")
        for data in self.files.values():
            for source in data.get("sources", []):
                for table in source["tables"]:
                    id_ = f"source.{NAME}.{source['name']}.{table['name']}"
                    self._tests(id_, table, f"source('{source['name']}', '{table['name']}')")
        self.nodes["model.dbt_utils.helper"] = self.nodes[f"model.{NAME}.dim_agents"] | {
            "unique_id": "model.dbt_utils.helper", "package_name": "dbt_utils", "name": "helper",
        }  # fmt: skip
        return {
            "metadata": {
                "dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json",
                "dbt_version": "1.9.4",
                "generated_at": "2025-03-01T10:00:00.000000Z",
                "invocation_id": "0d9f7a3e-0000-4000-8000-000000000000",
                "invocation_started_at": "2025-03-01T09:59:58.000000Z",
                "env": {},
                "project_name": NAME,
                "project_id": hashlib.md5(NAME.encode()).hexdigest(),
                "user_id": None,
                "send_anonymous_usage_stats": False,
                "adapter_type": "duckdb",
            },
            "nodes": self.nodes,
            "sources": self.sources,
            "macros": {},
            "docs": {
                **{
                    f"doc.{NAME}.{name}": {
                        "name": name, "resource_type": "doc", "package_name": NAME, "path": Path(path).name,
                        "original_file_path": path, "unique_id": f"doc.{NAME}.{name}", "block_contents": text,
                    }
                    for name, (path, text) in self.docs.items()
                },
                "doc.dbt.__overview__": {
                    "name": "__overview__", "resource_type": "doc", "package_name": "dbt", "path": "overview.md",
                    "original_file_path": "docs/overview.md", "unique_id": "doc.dbt.__overview__",
                    "block_contents": "### Welcome!",
                },
            },
            "exposures": self._exposures(),
            "metrics": self._metrics(),
            "groups": {},
            "selectors": {},
            "disabled": self.disabled,
            "parent_map": {id_: node["depends_on"]["nodes"] for id_, node in self.nodes.items()},
            "child_map": {},
            "group_map": {},
            "saved_queries": self._saved_queries(),
            "semantic_models": self._semantic_models(),
            "unit_tests": {},
        }  # fmt: skip

    def catalog(self) -> dict[str, Any]:
        def entry(id_: str, node: dict[str, Any]) -> dict[str, Any]:
            return {
                "metadata": {
                    "type": "BASE TABLE", "schema": node["schema"], "name": node.get("alias") or node["identifier"],
                    "database": "lumen", "comment": None, "owner": None,
                },
                "columns": {}, "stats": {}, "unique_id": id_,
            }  # fmt: skip

        tables = {
            id_: entry(id_, node)
            for id_, node in self.nodes.items()
            if node["resource_type"] != "test" and node["config"]["materialized"] != "ephemeral"
        }
        return {
            "metadata": {"generated_at": "2025-03-01T10:00:09.000000Z"},
            "nodes": tables,
            "sources": {id_: entry(id_, node) for id_, node in self.sources.items()},
            "errors": None,
        }

    def semantic_manifest(self, manifest: dict[str, Any]) -> dict[str, Any]:
        models = [
            {key: one[key] for key in one if key not in {"model", "unique_id", "depends_on", "refs"}}
            for one in manifest["semantic_models"].values()
        ]
        return {
            "semantic_models": models,
            "metrics": list(manifest["metrics"].values()),
            "project_configuration": {"time_spine_table_configurations": [], "metadata": None},
            "saved_queries": list(manifest.get("saved_queries", {}).values()),
        }

    # ---- parts

    def _text(self, value: object) -> str:
        def block(found: re.Match[str]) -> str:
            return self.docs[found.group(2)][1]

        return re.sub(r"\{\{ doc\((['\"])(\w+)\1\) \}\}", block, str(value or "")).strip()

    def _folder_settings(self, path: Path) -> dict[str, Any]:
        settings: dict[str, Any] = {"tags": [], "meta": {}}
        at = self.project["models"][NAME]
        for part in (None, *path.relative_to(self.folder / "models").parts[:-1]):
            at = at if part is None else at.get(part, {})
            for key, value in at.items():
                if key == "+tags":
                    settings["tags"] = [*settings["tags"], *value]
                elif key == "+meta":
                    settings["meta"] = {**settings["meta"], **value}
                elif key.startswith("+"):
                    settings[key[1:]] = value
        return settings

    def _model(self, path: Path) -> None:
        text = path.read_text()
        settings = self._folder_settings(path)
        written = re.search(r"\{\{\s*(config\(.*?\))\s*\}\}", text, flags=re.DOTALL)
        if written:
            tree = ast.parse(written.group(1).strip(), mode="eval").body
            for keyword in tree.keywords:  # type: ignore[attr-defined]
                is_name = isinstance(keyword.value, ast.Name)
                value = keyword.value.id == "true" if is_name else ast.literal_eval(keyword.value)
                if keyword.arg == "tags":
                    settings["tags"] = [*settings["tags"], *value]
                else:
                    settings[str(keyword.arg)] = value
        self._add("model", path, path.stem, relation_of(path.stem, self.folder), text, settings)

    def _add(
        self, kind: str, path: Path, name: str, relation: tuple[str, str], code: str, settings: dict[str, Any]
    ) -> None:
        patch, entry = self.patches.get((f"{kind}s", name), (None, {}))
        id_ = f"{kind}.{NAME}.{name}"
        meta = {**settings.get("meta", {}), **entry.get("meta", {})}
        tags = [*settings.get("tags", []), *entry.get("tags", [])]
        where = path.relative_to(self.folder).as_posix()
        code_hash = hashlib.sha256(code.strip().encode() if code else path.read_bytes()).hexdigest()
        node = {
            "database": "lumen", "schema": relation[0], "name": name, "resource_type": kind, "package_name": NAME,
            "path": where.partition("/")[2], "original_file_path": where, "unique_id": id_,
            "fqn": [NAME, *Path(where).with_suffix("").parts[1:]], "alias": relation[1],
            "checksum": {"name": "sha256", "checksum": code_hash},
            "config": {
                "enabled": settings.get("enabled", True), "alias": settings.get("alias"), "schema": settings.get("schema"),
                "database": None, "tags": tags, "meta": meta, "group": None, "materialized": settings["materialized"],
                "incremental_strategy": None, "persist_docs": {}, "quoting": {}, "column_types": {}, "full_refresh": None,
                "unique_key": settings.get("unique_key"), "on_schema_change": "ignore", "contract": {"enforced": False},
            },
            "tags": tags, "description": self._text(entry.get("description")), "columns": self._columns(entry), "meta": meta,
            "group": None, "docs": {"show": True, "node_color": None},
            "patch_path": f"{NAME}://{patch}" if patch else None, "build_path": None, "unrendered_config": {},
            "created_at": 1740823198.123, "relation_name": None if settings["materialized"] == "ephemeral"
            else f'"lumen"."{relation[0]}"."{relation[1]}"',
            "raw_code": code.strip(), "language": "sql",
            "refs": [{"name": one, "package": None, "version": None} for one in re.findall(r"ref\('(\w+)'\)", code)],
            "sources": [list(one) for one in re.findall(r"source\('(\w+)', '(\w+)'\)", code)], "metrics": [],
            "depends_on": {"macros": [], "nodes": self._depends(code)}, "compiled_path": None,
            "contract": {"enforced": False, "alias_types": True, "checksum": None}, "access": "protected",
            "constraints": [], "version": None, "latest_version": None, "deprecation_date": None, "primary_key": [],
            "time_spine": None,
        }  # fmt: skip
        if node["config"]["enabled"]:
            self.nodes[id_] = node
        else:
            self.disabled[id_] = [node]

    def _depends(self, code: str) -> list[str]:
        found = [f"model.{NAME}.{one}" for one in re.findall(r"ref\('(\w+)'\)", code)]
        found += [
            f"source.{NAME}.{one}.{two}" for one, two in re.findall(r"source\('(\w+)', '(\w+)'\)", code)
        ]
        return list(dict.fromkeys(found))

    def _columns(self, entry: dict[str, Any]) -> dict[str, Any]:
        return {
            one["name"]: {
                "name": one["name"], "description": self._text(one.get("description")), "meta": one.get("meta", {}),
                "data_type": one.get("data_type"),
                "constraints": [
                    {"type": rule["type"], "name": None, "expression": None, "warn_unenforced": True, "warn_unsupported": True,
                     "to": None, "to_columns": []}
                    for rule in one.get("constraints", [])
                ],
                "quote": None, "tags": one.get("tags", []), "granularity": one.get("granularity"),
            }
            for one in entry.get("columns", [])
        }  # fmt: skip

    def _source(self, path: str, source: dict[str, Any], table: dict[str, Any]) -> None:
        schema, identifier = source_relation(source["name"], table["name"])
        id_ = f"source.{NAME}.{source['name']}.{table['name']}"
        freshness: dict[str, Any] | None = None
        if not ("freshness" in table and table["freshness"] is None):
            freshness = {**source.get("freshness", {}), **(table.get("freshness") or {})}
            freshness = {
                "warn_after": freshness.get("warn_after", {"count": None, "period": None}),
                "error_after": freshness.get("error_after", {"count": None, "period": None}),
                "filter": freshness.get("filter"),
            }
        self.sources[id_] = {
            "database": source.get("database", "lumen"), "schema": schema, "name": table["name"], "resource_type": "source",
            "package_name": NAME, "path": path, "original_file_path": path, "unique_id": id_,
            "fqn": [NAME, *Path(path).parts[1:-1], source["name"], table["name"]], "source_name": source["name"],
            "source_description": source.get("description", ""), "loader": source.get("loader", ""), "identifier": identifier,
            "quoting": {"database": None, "schema": None, "identifier": None, "column": None},
            "loaded_at_field": table.get("loaded_at_field") or (source.get("loaded_at_field") if freshness else None),
            "freshness": freshness, "external": None,
            "description": self._text(table.get("description")), "columns": self._columns(table), "meta": {}, "source_meta": {},
            "tags": source.get("tags", []), "config": {"enabled": True}, "patch_path": None, "unrendered_config": {},
            "relation_name": f'"lumen"."{schema}"."{identifier}"', "created_at": 1740823198.5,
        }  # fmt: skip

    def _tests(self, id_: str, entry: dict[str, Any], call: str) -> None:
        if id_ not in self.nodes and id_ not in self.sources:
            return
        for column, holder in [(None, entry), *((one["name"], one) for one in entry.get("columns", []))]:
            for test in [*holder.get("tests", []), *holder.get("data_tests", [])]:
                self._test(id_, column, test, call)

    def _test(self, id_: str, column: str | None, test: Any, call: str) -> None:
        full, body = (test, {}) if isinstance(test, str) else next(iter(test.items()))
        body = dict(body)
        config = {**_DEFAULT_TEST_CONFIG, **body.pop("config", {})}
        kwargs = {**body, **body.pop("arguments", {})}
        kwargs.pop("arguments", None)
        column = kwargs.get("column_name", column)
        if column is not None:
            kwargs["column_name"] = column
        kwargs["model"] = f"{{{{ get_where_subquery({call}) }}}}"
        package, _, name = full.rpartition(".")
        mark = hashlib.md5(f"{id_}{full}{column}{kwargs}".encode()).hexdigest()[:10]
        unique_id = f"test.{NAME}.{name}_{id_.rpartition('.')[2]}_{column}.{mark}"
        needs = self._depends(str(kwargs.get("to", "")))
        self.nodes[unique_id] = {
            "test_metadata": {"name": name, "kwargs": kwargs, "namespace": package or None},
            "database": "lumen", "schema": "dbt_test__audit", "name": unique_id.split(".")[2], "resource_type": "test",
            "package_name": NAME, "path": f"{name}.sql", "original_file_path": "models/x.yml", "unique_id": unique_id,
            "fqn": [NAME, name], "alias": name, "checksum": {"name": "none", "checksum": ""}, "config": config, "tags": [],
            "description": "", "columns": {}, "meta": {}, "relation_name": None, "raw_code": "{{ test_x(**_kwargs) }}",
            "refs": [{"name": one, "package": None, "version": None} for one in re.findall(r"ref\('(\w+)'\)", call)],
            "sources": [], "depends_on": {"macros": [], "nodes": [*needs, id_]}, "column_name": column, "file_key_name": "",
            "attached_node": id_, "created_at": 1740823199.0,
        }  # fmt: skip

    def _exposures(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for path, data in self.files.items():
            for one in data.get("exposures", []):
                text = " ".join(one["depends_on"])
                nodes = self._depends(text)
                nodes += [f"metric.{NAME}.{name}" for name in re.findall(r"metric\('(\w+)'\)", text)]
                made[f"exposure.{NAME}.{one['name']}"] = {
                    "name": one["name"], "resource_type": "exposure", "package_name": NAME, "path": path,
                    "original_file_path": path, "unique_id": f"exposure.{NAME}.{one['name']}", "type": one["type"],
                    "owner": {"email": None, "name": None, **one["owner"]}, "description": self._text(one.get("description")),
                    "label": one.get("label"), "maturity": one.get("maturity"), "meta": {}, "tags": one.get("tags", []),
                    "config": {"enabled": True}, "url": one.get("url"), "depends_on": {"macros": [], "nodes": nodes},
                    "created_at": 1740823199.0,
                }  # fmt: skip
        return made

    def _semantic_models(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for path, data in self.files.items():
            for one in data.get("semantic_models", []):
                model = re.search(r"'(\w+)'", one["model"]).group(1)  # type: ignore[union-attr]
                schema, alias = relation_of(model, self.folder)
                made[f"semantic_model.{NAME}.{one['name']}"] = {
                    "name": one["name"], "resource_type": "semantic_model", "package_name": NAME, "path": path,
                    "original_file_path": path, "unique_id": f"semantic_model.{NAME}.{one['name']}", "model": one["model"],
                    "node_relation": {"alias": alias, "schema_name": schema, "database": "lumen",
                                      "relation_name": f'"lumen"."{schema}"."{alias}"'},
                    "description": self._text(one.get("description")) or None, "label": one.get("label"),
                    "defaults": one.get("defaults"), "primary_entity": one.get("primary_entity"),
                    "entities": [{"description": None, "label": None, "role": None, "expr": None, "config": {"meta": {}}, **entity}
                                 for entity in one.get("entities", [])],
                    "dimensions": [
                        {"description": None, "label": None, "is_partition": False, "expr": None, "metadata": None, **dimension,
                         "type_params": {"validity_params": None, **dimension["type_params"]} if "type_params" in dimension else None}
                        for dimension in one.get("dimensions", [])
                    ],
                    "measures": [self._measure(measure) for measure in one.get("measures", [])],
                    "metadata": None, "depends_on": {"macros": [], "nodes": [f"model.{NAME}.{model}"]},
                    "refs": [{"name": model, "package": None, "version": None}], "created_at": 1740823199.0,
                    "config": {"enabled": True, "group": None, "meta": {}}, "group": None,
                }  # fmt: skip
        return made

    def _measure(self, one: dict[str, Any]) -> dict[str, Any]:
        params = one.get("agg_params")
        window = one.get("non_additive_dimension")
        return {
            "description": None, "label": None, "create_metric": False, "expr": None, "agg_time_dimension": None, **one,
            "agg_params": None if params is None
            else {"percentile": None, "use_discrete_percentile": False, "use_approximate_percentile": False, **params},
            "non_additive_dimension": None if window is None
            else {"window_choice": "min", "window_groupings": [], **window},
        }  # fmt: skip

    def _filter(self, value: Any) -> Any:
        if value is None:
            return None
        texts = [value] if isinstance(value, str) else value
        return {"where_filters": [{"where_sql_template": text.strip()} for text in texts]}

    def _input(self, value: Any, *, is_measure: bool) -> Any:
        if value is None:
            return None
        data = {"name": value} if isinstance(value, str) else dict(value)
        more: dict[str, Any] = (
            {"join_to_timespine": False, "fill_nulls_with": None}
            if is_measure
            else {"offset_window": None, "offset_to_grain": None}
        )
        made = {"alias": None, **more, **data, "filter": self._filter(data.get("filter"))}
        if isinstance(made.get("offset_window"), str):
            count, unit = made["offset_window"].split()
            made["offset_window"] = {"count": int(count), "granularity": unit}
        return made

    def _metrics(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for path, data in self.files.items():
            for one in data.get("metrics", []):
                made[f"metric.{NAME}.{one['name']}"] = self._metric(path, one)
            for model in data.get("semantic_models", []):
                for measure in model.get("measures", []):
                    if measure.get("create_metric"):
                        metric = {"name": measure["name"], "type": "simple", "description": measure.get("description"),
                                  "label": measure["name"], "type_params": {"measure": measure["name"]}}  # fmt: skip
                        made[f"metric.{NAME}.{measure['name']}"] = self._metric(path, metric)
        return made

    def _metric(self, path: str, one: dict[str, Any]) -> dict[str, Any]:
        params = one["type_params"]
        cumulative = params.get("cumulative_type_params")
        if cumulative and isinstance(cumulative.get("window"), str):
            count, unit = cumulative["window"].split()
            cumulative = {**cumulative, "window": {"count": int(count), "granularity": unit}}
        return {
            "name": one["name"], "resource_type": "metric", "package_name": NAME, "path": path, "original_file_path": path,
            "unique_id": f"metric.{NAME}.{one['name']}", "fqn": [NAME, one["name"]],
            "description": self._text(one.get("description")), "label": one.get("label"), "type": one["type"],
            "type_params": {
                "measure": self._input(params.get("measure"), is_measure=True), "input_measures": [],
                "numerator": self._input(params.get("numerator"), is_measure=False),
                "denominator": self._input(params.get("denominator"), is_measure=False), "expr": params.get("expr"),
                "window": None, "grain_to_date": None,
                "metrics": [self._input(used, is_measure=False) for used in params.get("metrics", [])],
                "conversion_type_params": params.get("conversion_type_params"), "cumulative_type_params": cumulative,
                "metric_aggregation_params": None,
            },
            "filter": self._filter(one.get("filter")), "metadata": None, "time_granularity": None, "meta": {}, "tags": [],
            "config": {"enabled": True, "group": None, "meta": {}}, "unrendered_config": {}, "sources": [], "refs": [],
            "depends_on": {"macros": [], "nodes": []}, "metrics": [], "created_at": 1740823199.0, "group": None,
        }  # fmt: skip

    def _saved_queries(self) -> dict[str, Any]:
        return {
            f"saved_query.{NAME}.{one['name']}": {
                **one, "package_name": NAME, "original_file_path": path, "unique_id": f"saved_query.{NAME}.{one['name']}",
            }
            for path, data in self.files.items()
            for one in data.get("saved_queries", [])
        }  # fmt: skip
