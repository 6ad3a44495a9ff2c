"""Wiki pages: found, listed, read."""

from ktx.errors import LayerError
from ktx.files import read_text
from ktx.search.lanes import Scope
from ktx.search.query import Hit, search
from ktx.search.text import excerpt, query_terms
from ktx.serve.answers import WikiHit, WikiPage, WikiSearch
from ktx.serve.desk import Desk
from ktx.serve.lanes import lane_statuses
from ktx.suggest import did_you_mean
from ktx.wiki.page import split_front_matter
from ktx.wiki.sections import section_of, split_blocks
from ktx.wiki.store import load_page, load_pages, visible_pages

_MOST_SECTIONS = 30


def wiki_search(desk: Desk, query: str, *, limit: int = 10, connection_id: str | None = None) -> WikiSearch:
    """Find pages about something, best first; one user's page stands in for the shared one of its key."""
    scope = Scope(kinds=("wiki",), connection_id=desk.known_connection(connection_id), user_id=desk.user_id)
    with desk.searching() as index:
        result = search(index, query, scope, limit=limit, lanes=desk.lanes())
    terms = query_terms(query)
    return WikiSearch(
        results=[
            WikiHit(
                key=hit.ref,
                path=hit.file,
                scope="global" if hit.user_id is None else "user",
                summary=hit.summary,
                score=round(hit.score, 6),
                match_reasons=list(hit.reasons),
                snippet=page_snippet(desk, hit, terms),
            )
            for hit in result.hits
        ],
        total_found=result.total_found,
        lanes=lane_statuses(result.lanes),
    )


def wiki_list(desk: Desk, *, limit: int | None = None, connection_id: str | None = None) -> WikiSearch:
    """List the pages that the user sees, by `sort_order` and key."""
    chosen = desk.known_connection(connection_id)
    seen = visible_pages(load_pages(desk.project.wiki_dir)[0], user_id=desk.user_id)
    pages = [page for page in seen if chosen is None or not page.connections or chosen in page.connections]
    hits = [
        WikiHit(key=page.key, path=page.file, scope=page.scope, summary=page.summary, score=0.0)
        for page in pages[: limit or len(pages)]
    ]
    return WikiSearch(results=hits, total_found=len(pages))


def wiki_read(desk: Desk, key: str, *, section: str | None = None) -> WikiPage:
    """Give a page in full, or only the part of its text under the heading `section`.

    Raises:
        UsageError: `key` is not a page key.
        LayerError: there is no such page or section, or it cannot be read.
    """
    page = load_page(desk.project.wiki_dir, key, user_id=desk.user_id)
    text = page.body if section is None else _section(page.body, key, section)
    return WikiPage(
        key=page.key,
        summary=page.summary,
        content=text.strip("\n"),
        scope=page.scope,
        tags=list(page.tags) or None,
        refs=list(page.refs) or None,
        sl_refs=list(page.sl_refs) or None,
        stale_since=page.stale_since.isoformat() if page.stale_since else None,
    )


def _section(text: str, key: str, title: str) -> str:
    blocks = split_blocks(text)
    found = section_of(blocks, title)
    if found:
        return "".join(block.text for block in found)
    titles = [block.title for block in blocks if block.level]
    message = f"Page `{key}` has no section `{title[:80]}`.{did_you_mean(title, titles)}"
    known = ", ".join(f"`{name[:60]}`" for name in titles[:_MOST_SECTIONS])
    raise LayerError(
        message, hint=f"Its sections: {known}." if known else "It has no headings: read it whole."
    )


def page_snippet(desk: Desk, hit: Hit, terms: tuple[str, ...]) -> str:
    """Give the stretch of a page that says most about the terms; a page gone meanwhile gives its summary."""
    try:
        text = read_text(desk.project.root / hit.file)
    except (OSError, UnicodeDecodeError):
        return hit.summary
    return excerpt(split_front_matter(text)[1], terms) or hit.summary
