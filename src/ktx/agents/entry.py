"""The one key, or the one table, that ktx owns in a file of the person's: put there, renewed, and taken out exactly."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, cast

from ktx.agents import jsonc, toml
from ktx.agents.jsonc import Edit
from ktx.agents.manifest import Entry, Identity
from ktx.agents.target import (
    SUGGESTED_KEYS,
    TOKEN_VARIABLE,
    TRANSPORT_KEYS,
    Roots,
    ServerEntry,
)
from ktx.agents.tree import Done, Tree, missing_folders, naming, real

Form: TypeAlias = Literal["json", "toml"]


def put_entry(
    tree: Tree,
    entry: ServerEntry,
    value: Mapping[str, object],
    roots: Roots,
    known: Mapping[Identity, Entry],
) -> tuple[Entry, Done]:
    """Set an entry to `value`, and give the record of it and what became of it.

    What a person added to the entry stays. `known` are the records of the manifest.

    Raises:
        ConfigError: the file cannot be read, is malformed, or writes the entry in a form that a splice cannot edit.
    """
    path = entry_path(tree, entry, roots)
    key = tuple(roots.fill(part) for part in entry.key)
    there = tree.text(path)
    text = there or ""
    record = known.get((str(path), key))
    bare = Entry(type=entry_type(entry), path=str(path), owners=(), key=key, keep=len(key) - 1)
    with naming(path):
        current = value_in(entry.form, text, key)
        wanted = _merged(current, value)
        if current == wanted:
            return record or bare, Done(path=str(path), key=key, status="unchanged")
        keep = max(
            (depth for depth in range(len(key)) if value_in(entry.form, text, key[:depth]) is not None),
            default=0,
        )
        edit = _edited(entry, text, key, wanted, is_new=there is None)
    tree.put(path, edit.text.encode("utf-8"))
    if current is not None and record is not None:
        made = _renewed(record, edit)
    elif current is not None and is_ours(
        current
    ):  # written by ktx for another clone: there is nothing to go back to
        made = bare
    else:
        made = bare.model_copy(
            update={
                "before": edit.before,
                "after": edit.after,
                "keep": keep,
                "is_new_file": there is None,
                "made_folders": missing_folders(path),
            }
        )
    return made, Done(path=str(path), key=key, status="written")


def _edited(
    entry: ServerEntry, text: str, key: tuple[str, ...], wanted: Mapping[str, object], *, is_new: bool
) -> Edit:
    if entry.form == "toml":
        return toml.with_table(text, key, wanted)
    if is_new and entry.skeleton is not None:
        head = jsonc.with_key("", list(entry.skeleton)[:1], next(iter(entry.skeleton.values())))
        made = jsonc.with_key(head.text, key, wanted)
        return Edit(text=made.text, before="", after=made.text)
    return jsonc.with_key(text, key, wanted)


def _renewed(record: Entry, edit: Edit) -> Entry:
    """Carry the record of a splice over to the new text within it."""
    if record.after is not None and edit.before and record.after.count(edit.before) == 1:
        return record.model_copy(update={"after": record.after.replace(edit.before, edit.after)})
    return record.model_copy(update={"after": None})


def drop_entry(tree: Tree, record: Entry, project_dir: Path) -> Done:
    """Take an entry out, unless it serves another project by now; a file that ktx made goes with it when nothing else is in it.

    Raises:
        ConfigError: the file cannot be read, or is malformed.
    """
    path, key = Path(record.path), record.key
    form: Form = "toml" if record.type == "toml-table" else "json"
    text = tree.text(path)
    with naming(path):
        current = None if text is None else value_in(form, text, record.key)
        if text is None or current is None:
            return Done(path=record.path, key=key, status="absent")
        if _is_elsewhere(current, project_dir):
            return Done(path=record.path, key=key, status="kept")
        is_untouched = record.is_new_file and text == record.after
        left = "" if is_untouched else _restored(text, record, form)
        is_bare = is_untouched or (record.is_new_file and "".join(left.split()) in ("", "{}"))
    tree.put(path, None if is_bare else left.encode("utf-8"))
    return Done(path=record.path, key=key, status="removed")


def _restored(text: str, record: Entry, form: Form) -> str:
    """Undo the splice exactly where it still stands; else take the key out by the structure of the file."""
    if record.after and record.before is not None and text.count(record.after) == 1:
        exact = text.replace(record.after, record.before)
        if not record.is_new_file and (record.before.strip() or value_in(form, exact, record.key) is None):
            return exact
    if form == "toml":
        return toml.without_table(text, record.key)
    return jsonc.without_key(text, record.key, keep=record.keep)


def entry_path(tree: Tree, entry: ServerEntry, roots: Roots) -> Path:
    """Give the file of an entry: the first that is there of those that the program reads."""
    paths = [real(roots.path(text)) for text in entry.paths]
    return next((path for path in paths if tree.read(path) is not None), paths[0])


def value_in(form: Form, text: str, keys: Sequence[str]) -> object | None:
    """Give the value under a path of keys, or None; a text without content is an empty document.

    Raises:
        MalformedError: the text cannot be parsed.
    """
    if form == "toml":
        return toml.value_at(text, keys)
    if not text.strip().strip("\ufeff"):
        return None if keys else dict[str, object]()
    return jsonc.value_at(text, keys)


def entry_type(entry: ServerEntry) -> Literal["json-key", "toml-table"]:
    """Give the manifest's word for the kind of an entry."""
    return "toml-table" if entry.form == "toml" else "json-key"


def _merged(current: object, ours: Mapping[str, object]) -> dict[str, object]:
    """Put ktx's keys over an entry and keep what a person added to it; the way to the server is ktx's alone."""
    there = cast("Mapping[str, object]", current) if isinstance(current, Mapping) else dict[str, object]()
    kept = {name: value for name, value in there.items() if name not in TRANSPORT_KEYS}
    merged: dict[str, object] = {}
    for name in (*ours, *kept):
        one, other = kept.get(name), ours.get(name)
        both = isinstance(one, Mapping) and isinstance(other, Mapping)
        if both:
            merged[name] = {**cast("Mapping[str, object]", one), **cast("Mapping[str, object]", other)}
        else:
            is_theirs = name not in ours or (name in SUGGESTED_KEYS and name in kept)
            merged[name] = kept[name] if is_theirs else ours[name]
    return merged


def is_ours(value: object) -> bool:
    """Tell whether an entry starts ktx's server or sends its token."""
    if not isinstance(value, Mapping):
        return False
    words = _words(cast("Mapping[str, object]", value))
    return "mcp stdio" in " ".join(words) or any(TOKEN_VARIABLE in word for word in words)


def _is_elsewhere(value: object, project_dir: Path) -> bool:
    """Tell whether an entry serves another project by now."""
    words = _words(cast("Mapping[str, object]", value)) if isinstance(value, Mapping) else []
    if "--project-dir" not in words[:-1]:
        return False
    named = words[words.index("--project-dir") + 1]
    return Path(named).is_absolute() and Path(named) != project_dir


def _words(value: Mapping[str, object]) -> list[str]:
    found: list[str] = []
    for one in value.values():
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, list):
            found += [str(item) for item in cast("list[object]", one)]
        elif isinstance(one, Mapping):
            found += _words(cast("Mapping[str, object]", one))
    return found
