"""Putting ktx into agents and taking it out again: planned in memory first, then written, or refused with nothing written.

A person's file is never rewritten: one key or one table of it is, and the manifest keeps what stood there before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktx.agents.entry import drop_entry, entry_path, entry_type, is_ours, put_entry, value_in
from ktx.agents.manifest import (
    Entry,
    Identity,
    Install,
    Manifest,
    manifest_path,
    read_manifest,
    write_manifest,
)
from ktx.agents.render import is_own, render_skill
from ktx.agents.target import Mode, Placement, Roots, Scope, Server, SkillFile, Target, entry_value
from ktx.agents.tree import Done, Tree, missing_folders, naming, real


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One target in one scope, with the server that its entry shall name and the sentence for its skills.

    `has_memory` says whether the project can remember texts, so that the skills speak of it.
    """

    target: Target
    placement: Placement
    mode: Mode
    server: Server
    where: str
    has_memory: bool = False

    @property
    def scope(self) -> Scope:
        """The scope of the placement."""
        return self.placement.scope


def install(
    wishes: Sequence[Wish], roots: Roots, *, project_dir: Path, now: str
) -> tuple[tuple[Done, ...], Manifest]:
    """Install every wish and give what became of each file, and the manifest. A second run changes nothing.

    Raises:
        ConfigError: a file of the person's cannot be read, is malformed, or cannot be written. If it cannot be read, nothing
            was written at all.
    """
    manifest = read_manifest(roots.state, project_dir=project_dir)
    tree, done = Tree(), dict[Identity, Done]()
    for wish in wishes:
        record = Install(
            target=wish.target.name, scope=wish.scope, mode=wish.mode, install_root=str(roots.install)
        )
        entries = {entry.identity: entry for entry in manifest.entries}
        for file in wish.placement.files:
            path = real(roots.path(file.path))
            if file.is_cli_only and wish.mode == "mcp":
                continue
            outcome = _put_skill(tree, path, file, wish)
            done.setdefault((str(path), ()), outcome)  # two targets may share a file
            _own(entries, _file_entry(path), record.owner)
        if wish.placement.entry is not None:
            value = entry_value(wish.placement.entry.shape, wish.server, wish.scope)
            entry, outcome = put_entry(tree, wish.placement.entry, value, roots, entries)
            done[entry.identity] = outcome
            _own(entries, entry, record.owner)
        installs = {one.owner: one for one in manifest.installs} | {record.owner: record}
        manifest = manifest.model_copy(
            update={"installs": tuple(installs.values()), "entries": tuple(entries.values())}
        )
        wanted = {str(real(roots.path(file.path))) for file in wish.placement.files if not file.is_cli_only}
        if wish.mode == "mcp":  # what `mcp-cli` had put beside goes again
            stale = {entry.identity for entry in manifest.entries if entry.type == "file"} - {
                (path, ()) for path in wanted
            }
            manifest, gone = _release(tree, manifest, record.owner, project_dir, only=stale)
            done.update({(one.path, ()): one for one in gone})
    return tuple(done.values()), _apply(tree, manifest, roots.state, project_dir=project_dir, now=now)


def uninstall(
    wishes: Sequence[Wish] | None, roots: Roots, *, project_dir: Path, now: str
) -> tuple[tuple[Done, ...], Manifest]:
    """Take installs out: those of `wishes`, or all that the manifest knows. Files end as they were before.

    What a lost manifest would have known is found by ktx's own marks.

    Raises:
        ConfigError: a file of the person's is malformed or cannot be written.
    """
    manifest = read_manifest(roots.state, project_dir=project_dir)
    tree, done = Tree(), list[Done]()
    chosen = None if wishes is None else {(wish.target.name, wish.scope) for wish in wishes}
    for record in manifest.installs:
        if chosen is None or (record.target, record.scope) in chosen:
            manifest, gone = _release(tree, manifest, record.owner, project_dir)
            manifest = manifest.model_copy(
                update={"installs": tuple(one for one in manifest.installs if one.owner != record.owner)}
            )
            done += gone
    known = {entry.identity for entry in manifest.entries} | {(one.path, one.key) for one in done}
    for wish in wishes or ():
        done += [one for one in _sweep(tree, wish, roots, project_dir, known) if one.status != "absent"]
    return tuple(done), _apply(tree, manifest, roots.state, project_dir=project_dir, now=now)


# -- files of ktx's own ----------------------------------------------------------------------------------------------


def _put_skill(tree: Tree, path: Path, file: SkillFile, wish: Wish) -> Done:
    data = render_skill(file.skill, file.form, where=wish.where, has_memory=wish.has_memory)
    there = tree.read(path)
    if there == data:
        return Done(path=str(path), status="unchanged")
    if there is not None and file.form != "archive" and not is_own(there):
        return Done(path=str(path), status="kept")
    tree.put(path, data)
    return Done(path=str(path), status="written")


def _file_entry(path: Path) -> Entry:
    return Entry(type="file", path=str(path), owners=(), made_folders=missing_folders(path))


def _drop_file(tree: Tree, entry: Entry) -> Done:
    path = Path(entry.path)
    there = tree.read(path)
    if there is None:
        return Done(path=entry.path, status="absent")
    if path.suffix != ".zip" and not is_own(there):
        return Done(path=entry.path, status="kept")
    tree.put(path, None)
    return Done(path=entry.path, status="removed")


def _sweep(tree: Tree, wish: Wish, roots: Roots, project_dir: Path, known: set[Identity]) -> Iterable[Done]:
    """Find what a lost manifest would have named."""
    for file in wish.placement.files:
        path = real(roots.path(file.path))
        if (str(path), ()) not in known and file.form != "archive":
            yield _drop_file(tree, _file_entry(path))
    entry = wish.placement.entry
    if entry is None:
        return
    path, key = entry_path(tree, entry, roots), tuple(roots.fill(part) for part in entry.key)
    text = tree.text(path)
    if text is None or (str(path), key) in known:
        return
    with naming(path):
        is_left = is_ours(value_in(entry.form, text, key))
    if is_left:
        record = Entry(type=entry_type(entry), path=str(path), key=key, owners=(), keep=len(key) - 1)
        yield drop_entry(tree, record, project_dir)


# -- the manifest, and the disk --------------------------------------------------------------------------------------


def _own(entries: dict[Identity, Entry], entry: Entry, owner: str) -> None:
    known = entries.get(entry.identity)
    owners = known.owners if known is not None else ()
    if known is not None and entry.type == "file":
        entry = known
    folders = known.made_folders if known is not None and known.made_folders else entry.made_folders
    entries[entry.identity] = entry.model_copy(
        update={"owners": tuple(dict.fromkeys((*owners, owner))), "made_folders": folders}
    )


def _release(
    tree: Tree,
    manifest: Manifest,
    owner: str,
    project_dir: Path,
    *,
    only: set[Identity] | None = None,
) -> tuple[Manifest, list[Done]]:
    """Give up what an owner has; what nobody owns then is taken out."""
    left: list[Entry] = []
    done: list[Done] = []
    for entry in manifest.entries:
        if owner not in entry.owners or (only is not None and entry.identity not in only):
            left.append(entry)
            continue
        owners = tuple(one for one in entry.owners if one != owner)
        if owners:
            left.append(entry.model_copy(update={"owners": owners}))
        elif entry.type == "file":
            done.append(_drop_file(tree, entry))
        else:
            done.append(drop_entry(tree, entry, project_dir))
    kept = {entry.identity for entry in left}
    tree.folders |= {
        Path(folder)
        for entry in manifest.entries
        if entry.identity not in kept
        for folder in entry.made_folders
    }
    return manifest.model_copy(update={"entries": tuple(left)}), done


def _apply(tree: Tree, manifest: Manifest, state_dir: Path, *, project_dir: Path, now: str) -> Manifest:
    """Write the manifest, then the files: whatever happens in between, what stood there before is known."""
    recorded = read_manifest(state_dir, project_dir=project_dir)
    if manifest != recorded or recorded.project_dir != str(project_dir):
        manifest = manifest.model_copy(update={"installed_at": now, "project_dir": str(project_dir)})
    if manifest.installs or manifest.entries or manifest_path(state_dir).exists():
        write_manifest(state_dir, manifest)
    tree.write()
    return manifest
