"""The pages on disk: `wiki/global/<key>.md` for everybody and `wiki/user/<user>/<key>.md` for one person."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ktx.errors import LayerError, UsageError
from ktx.files import leads_out, read_text
from ktx.findings import Finding, Place
from ktx.names import is_page_key
from ktx.suggest import did_you_mean
from ktx.wiki.page import Page, parse_page


@dataclass(frozen=True, kw_only=True)
class PageFile:
    """Where a page lives, before it is read."""

    key: str
    user_id: str | None
    path: Path
    file: str


def page_path(wiki_dir: Path, key: str, *, user_id: str | None = None) -> Path:
    """Give the file of a page, whether or not it exists.

    Raises:
        UsageError: the key or the user is not a plain name, so it could point outside the wiki.
    """
    _ensure_name(key, what="page key")
    if user_id is None:
        return wiki_dir / "global" / f"{key}.md"
    _ensure_name(user_id, what="user")
    return wiki_dir / "user" / user_id / f"{key}.md"


def iter_page_files(wiki_dir: Path) -> Iterator[PageFile]:
    """Name every page file of all scopes, sorted by path; files that cannot be pages are passed over, and links out of the project."""
    for path in _files(wiki_dir):
        owner = None if path.parent.parent == wiki_dir else path.parent.name
        if (
            is_page_key(path.stem)
            and (owner is None or is_page_key(owner))
            and not _is_refused(wiki_dir, path)
        ):
            yield PageFile(key=path.stem, user_id=owner, path=path, file=_relative(wiki_dir, path))


def load_pages(wiki_dir: Path) -> tuple[tuple[Page, ...], tuple[Finding, ...]]:
    """Read every page of every scope; a page that cannot be read becomes findings and never hides the others."""
    pages: list[Page] = []
    findings: list[Finding] = []
    for entry in iter_page_files(wiki_dir):
        try:
            page, remarks = load_page_file(entry)
        except LayerError as error:
            findings.extend(error.findings)
            continue
        pages.append(page)
        findings.extend(remarks)
    findings.extend(_passed_over(wiki_dir))
    return tuple(pages), tuple(findings)


def load_page_file(entry: PageFile) -> tuple[Page, tuple[Finding, ...]]:
    """Read one page.

    Raises:
        LayerError: it cannot be read, is not UTF-8, or its front matter breaks the format.
    """
    try:
        text = read_text(entry.path)
    except OSError as error:
        message = f"The page `{entry.key}` cannot be read: {error.strerror}."
        finding = Finding(
            level="error", code="wiki-unreadable", message=message, where=Place(file=entry.file)
        )
        raise LayerError(message, hint=f"Mend or delete `{entry.file}`.", findings=[finding]) from error
    except UnicodeDecodeError as error:
        message = f"The page `{entry.key}` is not UTF-8 text."
        finding = Finding(level="error", code="wiki-not-utf8", message=message, where=Place(file=entry.file))
        raise LayerError(message, hint=f"Save `{entry.file}` as UTF-8.", findings=[finding]) from error
    return parse_page(text, key=entry.key, file=entry.file, user_id=entry.user_id)


def load_page(wiki_dir: Path, key: str, *, user_id: str | None = None) -> Page:
    """Read the page that this user sees under `key`: their own if they have one, else the shared one.

    Raises:
        UsageError: `key` is not a page key.
        LayerError: there is no such page, or it cannot be read.
    """
    for owner in (user_id, None) if user_id is not None else (None,):
        path = page_path(wiki_dir, key, user_id=owner)
        if path.exists() or path.is_symlink():
            if _is_refused(wiki_dir, path):
                finding = _refused(wiki_dir, path)
                raise LayerError(finding.message, hint=finding.fix, findings=[finding])
            entry = PageFile(key=key, user_id=owner, path=path, file=_relative(wiki_dir, path))
            return load_page_file(entry)[0]
    known = {entry.key for entry in iter_page_files(wiki_dir) if entry.user_id in (None, user_id)}
    message = f"There is no wiki page `{key}`.{did_you_mean(key, known)}"
    hint = "List the pages with `ktx wiki`." if known else "No page has been written yet."
    raise LayerError(message, hint=hint)


def visible_pages(pages: Iterable[Page], *, user_id: str | None) -> tuple[Page, ...]:
    """Give what one user sees, by `sort_order` and key: shared pages, with their own in place of those of the same key."""
    chosen: dict[str, Page] = {}
    for page in pages:
        if page.user_id is None:
            chosen.setdefault(page.key, page)
        elif page.user_id == user_id:
            chosen[page.key] = page
    return tuple(sorted(chosen.values(), key=lambda page: (page.sort_order, page.key)))


def _ensure_name(name: str, *, what: str) -> None:
    if not is_page_key(name):
        message = f"`{name[:80]}` is not a {what}."
        raise UsageError(message, hint="Use letters, digits, `_` and `-`, beginning with a letter or digit.")


def _files(wiki_dir: Path) -> list[Path]:
    return [*sorted(wiki_dir.glob("global/*.md")), *sorted(wiki_dir.glob("user/*/*.md"))]


def _is_refused(wiki_dir: Path, path: Path) -> bool:
    """Tell whether a page, or the folder that it is in, is a link that is not followed."""
    return leads_out(path, wiki_dir.parent) or leads_out(path.parent, wiki_dir.parent)


def _passed_over(wiki_dir: Path) -> Iterator[Finding]:
    for path in _files(wiki_dir):
        if _is_refused(wiki_dir, path):
            yield _refused(wiki_dir, path)
        elif not is_page_key(path.stem):
            yield Finding(
                level="warning",
                code="wiki-file-name",
                message=f"The file `{path.name}` is not read, for `{path.stem}` is not a page key.",
                where=Place(file=_relative(wiki_dir, path)),
                fix="Rename the file to letters, digits, `_` and `-`.",
            )


def _refused(wiki_dir: Path, path: Path) -> Finding:
    return Finding(
        level="error",
        code="wiki-link",
        message=f"The page `{path.stem}` is not read: a link leads out of the project, or to a folder.",
        where=Place(file=_relative(wiki_dir, path)),
        fix="Put the file itself there.",
    )


def _relative(wiki_dir: Path, path: Path) -> str:
    return path.relative_to(wiki_dir.parent).as_posix()
