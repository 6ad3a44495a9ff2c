"""The git program: the only caller of it.

A repository may be the project's own or one that it lives in. Commits are built beside the user's index, so that whatever
is staged or half-written there stays as it is. The user's own configuration holds (line endings, filters, trusted folders),
except for what would run programs or wait for a person: hooks, signing, file-system monitors, prompts.
"""

import functools
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktx.errors import ConfigError, OutsideError

MINIMUM = (2, 30)
_SETTINGS = {
    "advice.detachedHead": "false",
    "color.ui": "false",
    "commit.gpgSign": "false",
    "core.editor": "true",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.quotePath": "false",
    "core.safecrlf": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
_LOCK_TRIES = 20
_CHANGE = ("commit", "at", "author", "subject")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A commit as people name it. `at` is when it was written, in ISO 8601 with its author's own offset."""

    commit: str
    at: str
    author: str
    subject: str


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A git repository seen from the project folder `root`, which may be its top or any folder in it."""

    root: Path
    environment: Mapping[str, str]

    @classmethod
    def find(cls, root: Path, *, environment: Mapping[str, str]) -> "Repository | None":
        """Give the repository that records `root`, or None: also when the one around it ignores the folder.

        `environment` is the process's own; what concerns other repositories is dropped from it.

        Raises:
            ConfigError: git is missing, too old, or refuses the repository.
        """
        candidate = cls(root=root, environment=clean_environment(environment))
        if not root.is_dir():
            return None
        inside = candidate._try("rev-parse", "--is-inside-work-tree")
        if inside.returncode != 0:
            if "not a git repository" in inside.stderr:
                return None
            raise _refusal(root, inside.stderr)
        if inside.stdout.strip() != "true":
            raise ConfigError(
                f"`{root}` is inside the git folder of a repository, or the repository is bare.",
                hint="Choose a folder in a working tree.",
            )
        top = candidate.top
        if root.resolve() != top.resolve():
            around = cls(root=top, environment=candidate.environment)
            # `check-ignore` is the one command that refuses literal paths.
            asked = ("check-ignore", "-q", str(root.resolve()))
            if around._try(*asked, extra={"GIT_LITERAL_PATHSPECS": "0"}).returncode == 0:
                return None
        return candidate

    @classmethod
    def init(cls, root: Path, *, environment: Mapping[str, str]) -> "Repository":
        """Give the repository that records `root`, making one when there is none."""
        found = cls.find(root, environment=environment)
        if found is not None:
            return found
        root.mkdir(parents=True, exist_ok=True)
        made = cls(root=root, environment=clean_environment(environment))
        made._run("init", "--quiet", "--initial-branch=main")
        return made

    @property
    def top(self) -> Path:
        """The folder that holds the whole working tree."""
        return Path(self._run("rev-parse", "--show-toplevel").strip())

    def head(self) -> str | None:
        """Give the id of the last commit, or None before the first."""
        found = self._try("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return found.stdout.strip() if found.returncode == 0 else None

    def changed(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """Give the files at or under `paths` that differ from the last commit, sorted, absolute."""
        if not paths:
            return ()
        listed = self._run(
            "status",
            "--porcelain=v1",
            "-z",
            "--no-renames",
            "--untracked-files=all",
            "--",
            *self._names(paths),
        )
        top = self.top
        return tuple(sorted(top / entry[3:] for entry in listed.split("\0") if entry))

    def last_change(self, path: Path) -> Change | None:
        """Give the last commit that changed a file, following no rename; None when git has never seen it."""
        if self.head() is None:
            return None
        told = self._run("log", "-1", "--format=%H%x00%aI%x00%an%x00%s", "--", *self._names([path]))
        parts = told.rstrip("\n").split("\0")
        if len(parts) != len(_CHANGE):
            return None
        return Change(**dict(zip(_CHANGE, parts, strict=True)))

    def commit(
        self, paths: Sequence[Path], message: str, *, author: str, trailers: Mapping[str, str] | None = None
    ) -> str | None:
        """Commit the files at or under `paths` as they are on disk, and give the new id; None when nothing changed.

        Nothing else is committed, staged or unstaged. `author` is `Name <mail>`; `trailers` end the message.

        Raises:
            ConfigError: the repository ignores one of the paths, or refuses the commit.
            OutsideError: other programs kept moving the branch.
        """
        return self._commit(
            lambda parent: self._tree_with(paths, parent), paths, message, author=author, trailers=trailers
        )

    def commit_texts(
        self,
        texts: Mapping[Path, str | None],
        message: str,
        *,
        author: str,
        trailers: Mapping[str, str] | None = None,
    ) -> str | None:
        """Commit these texts, None for a file that goes, whatever is on disk; otherwise as `commit`."""
        paths = sorted(texts)
        ignored = self._try(
            "check-ignore",
            "--stdin",
            "-z",
            stdin="\0".join(self._names(paths)),
            extra={"GIT_LITERAL_PATHSPECS": "0"},
        ).stdout.strip("\0")
        if ignored:
            raise ConfigError(
                f"git refuses in `{self.root}`: its .gitignore leaves out {ignored.replace(chr(0), ', ')}",
                hint="Take that rule out, or choose another folder.",
            )
        return self._commit(
            lambda parent: self._tree_of(texts, parent), paths, message, author=author, trailers=trailers
        )

    def committed_text(self, path: Path) -> str | None:
        """Give a file's text in the last commit; None when it is not in it, or no UTF-8 text."""
        name = self._names([path])[0].replace(os.sep, "/")
        found = self._try("cat-file", "blob", f"HEAD:./{name}")
        return found.stdout if found.returncode == 0 and _is_text(found.stdout) else None

    def deleted(self, paths: Sequence[Path], *, trailer: str) -> dict[Path, str]:
        """Give the files under `paths` that a commit took away, with that commit's value of a trailer, empty without one.

        Where a file was taken away several times the last time counts, whether or not it is there again.
        """
        if self.head() is None:
            return {}
        told = self._run(
            "log", "--no-renames", "--diff-filter=D", "--name-only", "-z",
            f"--format=%x01%(trailers:key={trailer},valueonly,separator=%x2C)", "--", *self._names(paths),
        )  # fmt: skip
        top = self.top
        found: dict[Path, str] = {}
        for commit in told.split("\x01")[1:]:
            value, *names = commit.replace("\n", "\0").split("\0")
            for name in names:
                if name:
                    found.setdefault(top / name, value.strip())
        return found

    def resolve(self, revision: str) -> str | None:
        """Give the id of the commit that a revision names, or None when it names none."""
        if not revision.strip() or revision.startswith("-"):
            return None
        found = self._try("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        return found.stdout.strip() if found.returncode == 0 else None

    def change(self, commit: str) -> Change:
        """Give a commit as people name it."""
        told = self._run("show", "--no-patch", "--format=%H%x00%aI%x00%an%x00%s", commit, "--")
        return Change(**dict(zip(_CHANGE, told.rstrip("\n").split("\0"), strict=True)))

    def carrying(self, trailers: Sequence[str]) -> tuple[tuple[Change, tuple[str, ...]], ...]:
        """Give the commits that carry the first of `trailers`, newest first, with the values of all, empty without one."""
        if self.head() is None:
            return ()
        values = "".join(f"%x00%(trailers:key={key},valueonly,separator=%x2C)" for key in trailers)
        told = self._run("log", f"--grep=^{trailers[0]}: ", f"--format=%x01%H%x00%aI%x00%an%x00%s{values}")
        found: list[tuple[Change, tuple[str, ...]]] = []
        for one in told.split("\x01")[1:]:
            parts = [part.strip() for part in one.split("\0")]
            if parts[len(_CHANGE)]:
                known = dict(zip(_CHANGE, parts, strict=False))
                found.append((Change(**known), tuple(parts[len(_CHANGE) :])))
        return tuple(found)

    def texts_at(self, commit: str, paths: Sequence[Path]) -> dict[Path, str | None]:
        """Give the text of each file at or under `paths` in a commit, line breaks as `\\n`; None for one that is no UTF-8."""
        listed = self._run("ls-tree", "-r", "-z", commit, "--", *self._names(paths))
        blobs: dict[Path, str] = {}
        for entry in filter(None, listed.split("\0")):
            about, name = entry.split("\t", 1)
            mode, _, blob = about.split(" ")
            if mode.startswith("100"):
                blobs[self.root / name] = blob
        wanted = "".join(f"{blob}\n" for blob in blobs.values())
        told = run_git_bytes(
            self.root, ["cat-file", "--batch"], environment=self.environment, stdin=wanted
        ).stdout  # fmt: skip
        texts: dict[Path, str | None] = {}
        at = 0
        for path in blobs:
            end = told.index(b"\n", at)
            start, size = end + 1, int(told[at:end].rsplit(b" ", 1)[1])
            text = _decoded(told[start : start + size])
            texts[path] = text if _is_text(text) else None
            at = start + size + 1
        return texts

    def has_commit_since(self, parent: str | None, *, trailer: str, value: str) -> bool:
        """Tell whether a commit after `parent` carries a trailer of that value."""
        reach = f"{parent}..HEAD" if parent else "HEAD"
        told = self._try("log", f"--format=%(trailers:key={trailer},valueonly)", reach)
        return told.returncode == 0 and value in told.stdout.split()

    def _commit(
        self,
        tree_over: Callable[[str | None], str],
        paths: Sequence[Path],
        message: str,
        *,
        author: str,
        trailers: Mapping[str, str] | None,
    ) -> str | None:
        for _ in range(_LOCK_TRIES):
            parent = self.head()
            tree = tree_over(parent)
            if tree == (
                self._run("rev-parse", f"{parent}^{{tree}}").strip() if parent else self._empty_tree()
            ):
                if parent:
                    self.refresh_index(paths)  # a run that was killed after its commit left the index behind
                return None
            text = _message(message, trailers or {})
            parents = ("-p", parent) if parent else ()
            made = self._run(
                "commit-tree", tree, *parents, "-F", "-", stdin=text, extra=_identity(author)
            ).strip()
            moved = self._try(
                "update-ref", "-m", f"ktx: {message.splitlines()[0]}", "HEAD", made, parent or ""
            )
            if moved.returncode == 0:
                self.refresh_index(paths)
                return made
        raise OutsideError(
            f"Other programs keep changing the branch of `{self.root}`.", hint="Try again when they are done."
        )

    def _tree_of(self, texts: Mapping[Path, str | None], parent: str | None) -> str:
        """Write the tree of `parent` with these texts, in an index of its own."""
        prefix = self._run("rev-parse", "--show-prefix").strip("\n")
        names = {path: prefix + self._names([path])[0].replace(os.sep, "/") for path in sorted(texts)}
        kept = [path for path in names if texts[path] is not None]
        with tempfile.TemporaryDirectory(prefix="ktx-index-") as folder:
            files = [Path(folder) / str(number) for number in range(len(kept))]
            for file, path in zip(files, kept, strict=True):
                file.write_bytes((texts[path] or "").encode("utf-8"))
            listed = "".join(f"{file}\n" for file in files)
            blobs = self._run("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=listed).split()
            lines = [f"100644 {blob}\t{names[path]}" for path, blob in zip(kept, blobs, strict=True)]
            nothing = "0" * len(self._empty_tree())
            lines += [f"0 {nothing}\t{name}" for path, name in names.items() if texts[path] is None]
            extra = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            if parent:
                self._run("read-tree", parent, extra=extra)
            told = "".join(f"{line}\0" for line in lines)
            self._run("update-index", "-z", "--index-info", stdin=told, extra=extra)
            return self._run("write-tree", extra=extra).strip()

    def _tree_with(self, paths: Sequence[Path], parent: str | None) -> str:
        """Write the tree of `parent` with `paths` as on disk, in an index of its own."""
        with tempfile.TemporaryDirectory(prefix="ktx-index-") as folder:
            extra = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            if parent:
                self._run("read-tree", parent, extra=extra)
            names = self._names(paths)
            tracked = self._run("ls-files", "-z", "--", *names, extra=extra).split("\0") if names else []
            known = [name for name in names if (self.root / name).exists() or _covers(name, tracked)]
            if known:
                listed = "".join(f"{name}\0" for name in known)
                arguments = ("add", "--all", "--pathspec-from-file=-", "--pathspec-file-nul")
                added = self._try(*arguments, stdin=listed, extra=extra)
                if added.returncode != 0:
                    raise _refusal(self.root, added.stderr)
            return self._run("write-tree", extra=extra).strip()

    def refresh_index(self, paths: Sequence[Path]) -> None:
        """Make the user's index agree with the last commit about `paths`, so that git does not show them as undone."""
        for _ in range(_LOCK_TRIES):
            done = self._try("reset", "--quiet", "--", *self._names(paths))
            if done.returncode == 0 or "index.lock" not in done.stderr:
                return
            time.sleep(0.1)

    def _empty_tree(self) -> str:
        return self._run("hash-object", "-t", "tree", "--stdin", stdin="").strip()

    def _names(self, paths: Sequence[Path]) -> list[str]:
        return [
            os.path.relpath(path if path.is_absolute() else self.root / path, self.root) for path in paths
        ]

    def _run(self, *arguments: str, stdin: str = "", extra: Mapping[str, str] | None = None) -> str:
        done = self._try(*arguments, stdin=stdin, extra=extra)
        if done.returncode != 0:
            raise _refusal(self.root, done.stderr)
        return done.stdout

    def _try(
        self, *arguments: str, stdin: str = "", extra: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return run_git(self.root, arguments, stdin=stdin, environment={**self.environment, **(extra or {})})


@functools.cache
def ensure_git(search_path: str | None) -> tuple[int, ...]:
    """Give git's version.

    Raises:
        ConfigError: there is no git on `search_path` (the variable PATH), or it is too old.
    """
    environment = {"LC_ALL": "C"} if search_path is None else {"LC_ALL": "C", "PATH": search_path}
    wanted = ".".join(map(str, MINIMUM))
    try:
        done = subprocess.run(
            ["git", "--version"], env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ConfigError(
            "The program `git` was not found; ktx records every change in a git repository.",
            hint=f"Install git {wanted} or newer and make sure that it is on PATH.",
        ) from error
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    version = tuple(int(part) for part in found.groups(default="0")) if found else ()
    if version < MINIMUM:
        raise ConfigError(
            f"git is too old: `{done.stdout.strip() or done.stderr.strip()}`.",
            hint=f"Install git {wanted} or newer.",
        )
    return version


def run_git(
    folder: Path,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: str = "",
    settings: Mapping[str, str] | None = None,
    timeout_s: float = 300.0,
) -> "subprocess.CompletedProcess[str]":
    """Run git in `folder` and give how it ended; `settings` come after ktx's own.

    Raises:
        ConfigError: git is missing or too old.
        OutsideError: it did not end in time.
    """
    done = run_git_bytes(
        folder, arguments, environment=environment, stdin=stdin, settings=settings, timeout_s=timeout_s
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, stdout=_decoded(done.stdout), stderr=_decoded(done.stderr)
    )


def run_git_bytes(
    folder: Path,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: str = "",
    settings: Mapping[str, str] | None = None,
    timeout_s: float = 300.0,
) -> "subprocess.CompletedProcess[bytes]":
    """Run git as `run_git` does, and give what it wrote byte by byte."""
    ensure_git(environment.get("PATH"))
    try:
        return subprocess.run(
            git_command(folder, arguments, settings or {}), env=dict(environment), capture_output=True,
            input=stdin.encode("utf-8", "surrogateescape"), check=False, timeout=timeout_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise OutsideError(
            f"`git {arguments[0]}` did not end within {timeout_s:g} s in `{folder}`."
        ) from error


def git_command(folder: Path, arguments: Sequence[str], settings: Mapping[str, str]) -> list[str]:
    """Give the command line of a git that runs no program of the user's and waits for nobody."""
    merged = {**_SETTINGS, **settings}
    return [
        "git",
        *(part for key in merged for part in ("-c", f"{key}={merged[key]}")),
        "-C",
        str(folder),
        *arguments,
    ]


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Give a process's environment without what would point git at another repository, index or language."""
    kept = {name: value for name, value in environment.items() if not name.startswith("GIT_")}
    # What the user says about configuration files and trust holds; which repository and which index does not.
    kept.update({name: environment[name] for name in environment if name.startswith("GIT_CONFIG")})
    return {
        **kept,
        "LC_ALL": "C",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def _identity(author: str) -> dict[str, str]:
    name, _, mail = author.partition("<")
    name, mail = name.strip(), mail.rstrip("> ").strip()
    return {
        "GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": mail, "GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": mail,
    }  # fmt: skip


def _message(message: str, trailers: Mapping[str, str]) -> str:
    lines = [f"{key}: {' '.join(value.split())}" for key, value in trailers.items()]
    return "\n\n".join(part for part in (message.strip(), "\n".join(lines)) if part) + "\n"


def _decoded(data: bytes) -> str:
    """Decode leniently, with every line break as `\\n`."""
    return data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")


def _is_text(decoded: str) -> bool:
    """Whether bytes that were read leniently were UTF-8."""
    try:
        decoded.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _covers(name: str, tracked: Sequence[str]) -> bool:
    return any(name in (".", entry) or entry.startswith(f"{name}/") for entry in tracked if entry)


def _refusal(root: Path, stderr: str) -> ConfigError | OutsideError:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    first = next(
        (line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "no reason"
    )
    hint = None
    if "dubious ownership" in stderr:
        hint = f"Tell git that you trust it: git config --global --add safe.directory {root}"
    elif "ignored by one of your .gitignore" in stderr:
        ignored = ", ".join(line for line in lines if not line.startswith(("The following", "hint:")))
        first, hint = f"its .gitignore leaves out {ignored}", "Take that rule out, or choose another folder."
    if "No space left on device" in stderr or "Disk quota exceeded" in stderr:
        return OutsideError(
            f"git cannot write in `{root}`: {first.removeprefix('fatal: ').removeprefix('error: ')}",
            hint="Make room, then run again.",
        )
    return ConfigError(
        f"git refuses in `{root}`: {first.removeprefix('fatal: ').removeprefix('error: ')}", hint=hint
    )
