"""Generic tests as YAML writes them: `tests:` and `data_tests:`, bare names, arguments beside the name or under `arguments:`."""

from collections.abc import Mapping
from typing import Final

from ktx.sources.dbt_project.config import TEST_SETTINGS
from ktx.sources.dbt_project.plain import as_list, as_map, as_text
from ktx.sources.dbt_project.project import TestEntry

_OWN: Final = frozenset(
    {"name", "config", "where", "severity", "enabled", "tags", "store_failures", "store_failures_as", "limit", "fail_calc", "error_if",
     "warn_if", "meta", "description", "database", "schema", "alias", "group", "arguments", "test_name", "column_name"}
)  # fmt: skip


def read_tests(
    entry: Mapping[str, object], *, column: str | None, defaults: Mapping[str, object]
) -> tuple[TestEntry, ...]:
    """Give the tests of a model's or a column's entry; those switched off are left out. `defaults` are the project's settings."""
    found: list[TestEntry] = []
    for key in ("tests", "data_tests"):
        for one in as_list(entry.get(key)):
            made = _read_test(one, column, defaults)
            if made is not None and made not in found:
                found.append(made)
    return tuple(found)


def make_test(
    full_name: str, column: str | None, kwargs: Mapping[str, object], config: Mapping[str, object]
) -> TestEntry | None:
    """Make a test of its name (perhaps `package.name`), arguments and configuration; None when it is switched off."""
    if config.get("enabled") is False:
        return None
    package, _, name = full_name.rpartition(".")
    own = dict(kwargs)
    own.pop("model", None)
    at = as_text(own.pop("column_name", None)) or column
    # In dbt's own spelling an error threshold other than "any failure" lets rows through, as a warning does.
    is_strict = as_text(config.get("severity")).lower() != "warn" and not (
        {"where", "limit", "fail_calc", "error_if"} & {key for key, one in config.items() if one is not None}
        - ({"error_if"} if as_text(config.get("error_if")) in {"", "!= 0"} else set[str]())
        - ({"fail_calc"} if as_text(config.get("fail_calc")) in {"", "count(*)"} else set[str]())
    )  # fmt: skip
    return TestEntry(
        name=name,
        package=package if package not in {"", "dbt"} else None,
        column=at,
        kwargs=own,
        is_conditional=not is_strict,
    )


def _read_test(value: object, column: str | None, defaults: Mapping[str, object]) -> TestEntry | None:
    if isinstance(value, str):
        return make_test(as_text(value), column, {}, defaults) if as_text(value) else None
    data = as_map(value)
    if not data:
        return None
    if "test_name" in data:
        name, body = as_text(data["test_name"]), data
    elif len(data) == 1 or not isinstance(next(iter(data.values())), dict):
        name = next(iter(data))
        body = as_map(data[name])
    else:
        name = next(iter(data))
        body = {**as_map(data[name]), **{key: one for key, one in data.items() if key != name}}
    config = {**defaults, **{key: body[key] for key in TEST_SETTINGS if key in body}}
    config.update(as_map(body.get("config")))
    kwargs = {key: one for key, one in body.items() if key not in _OWN}
    kwargs.update(as_map(body.get("arguments")))
    if "column_name" in body:
        kwargs["column_name"] = body["column_name"]
    return make_test(as_text(name), column, kwargs, config) if as_text(name) else None
