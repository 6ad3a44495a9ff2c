"""Pages on disk, shadowing, and references that point nowhere."""

from pathlib import Path

import pytest

from ktx.errors import LayerError, UsageError
from ktx.wiki.check import Known, check_pages
from ktx.wiki.links import parse_links
from ktx.wiki.store import load_page, load_pages, page_path, visible_pages

KNOWN = Known(
    connections=frozenset({"warehouse", "crm"}),
    entities_by_source={
        "warehouse": {"orders": frozenset({"amount", "revenue"})},
        "crm": {"accounts": frozenset({"name"})},
    },
    tables={"warehouse": frozenset({"shop.orders", "orders"})},
)


def write(root: Path, place: str, head: str, body: str = "") -> None:
    path = root / "wiki" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\nsummary: About it\n{head}---\n{body}", encoding="utf-8")


def test_a_users_page_shadows_the_shared_one(tmp_path: Path) -> None:
    write(tmp_path, "global/revenue.md", "", "shared")
    write(tmp_path, "user/ana/revenue.md", "", "mine")
    wiki = tmp_path / "wiki"
    assert load_page(wiki, "revenue", user_id="ana").body == "mine"
    assert load_page(wiki, "revenue", user_id="bob").body == "shared"
    pages, _ = load_pages(wiki)
    assert [page.body for page in visible_pages(pages, user_id="ana")] == ["mine"]
    assert [page.body for page in visible_pages(pages, user_id=None)] == ["shared"]


def test_pages_come_by_sort_order_then_key(tmp_path: Path) -> None:
    for key, order in (("b", 0), ("a", 0), ("z", -1)):
        write(tmp_path, f"global/{key}.md", f"sort_order: {order}\n")
    pages, _ = load_pages(tmp_path / "wiki")
    assert [page.key for page in visible_pages(pages, user_id=None)] == ["z", "a", "b"]


def test_a_missing_page_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "global/net-revenue.md", "")
    with pytest.raises(LayerError, match="Did you mean `net-revenue`"):
        load_page(tmp_path / "wiki", "net_revenu")


@pytest.mark.parametrize("key", ["../secret", "global/revenue", "", ".hidden", "a\x00b", "x/../../y"])
def test_a_key_never_leaves_the_wiki(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError):
        page_path(tmp_path, key)
    with pytest.raises(UsageError):
        page_path(tmp_path, "ok", user_id=key)


def test_one_broken_page_does_not_hide_the_others(tmp_path: Path) -> None:
    write(tmp_path, "global/good.md", "")
    (tmp_path / "wiki/global/bad.md").write_bytes(b"---\nsummary: \xff\n---\n")
    (tmp_path / "wiki/global/not a key.md").write_text("x")
    pages, findings = load_pages(tmp_path / "wiki")
    assert [page.key for page in pages] == ["good"]
    assert {finding.code for finding in findings} == {"wiki-not-utf8", "wiki-file-name"}


def test_references_are_read_once_and_not_from_code_blocks(tmp_path: Path) -> None:
    body = (
        "\nSee [[refunds]] and [[net-revenue|the rule]].\n\n"
        "Use `orders.revenue`, `warehouse/orders.amount`,\n`source:orders` or `crm/table:shop.orders`.\n\n"
        "```sql\nselect `other.thing`, '[[nothing]]'\n```\n"
    )
    write(tmp_path, "global/p.md", "refs: [other]\nsl_refs: [warehouse/orders.revenue, orders]\n", body)
    page = load_page(tmp_path / "wiki", "p")
    found = [
        (link.kind, link.connection_id, link.target, link.entity, link.line) for link in parse_links(page)
    ]
    assert found == [
        ("page", None, "other", None, 3),
        ("entity", "warehouse", "orders", "revenue", 4),
        ("source", None, "orders", None, 4),
        ("page", None, "refunds", None, 7),
        ("page", None, "net-revenue", None, 7),
        ("entity", None, "orders", "revenue", 9),
        ("entity", "warehouse", "orders", "amount", 9),
        ("source", None, "orders", None, 10),
        ("table", "crm", "shop.orders", None, 10),
    ]


def test_dangling_references_say_where_and_what_was_meant(tmp_path: Path) -> None:
    write(
        tmp_path,
        "global/ok.md",
        "refs: [bad]\nsl_refs: [orders.revenue, crm/accounts]\ntables: [shop.orders]\n",
    )
    write(
        tmp_path,
        "global/bad.md",
        "refs: [okk]\nsl_refs: [orders.revenu, crm/orders]\nconnections: [warehous]\n",
        "Look at `source:ordres`, `orders.amont`, `lake/orders.amount` and `table:shop.order`.\n",
    )
    pages, _ = load_pages(tmp_path / "wiki")
    findings = check_pages(pages, KNOWN)
    assert {finding.where.file for finding in findings} == {"wiki/global/bad.md"}
    assert [(f.where.line, f.code) for f in findings] == [
        (3, "wiki-dangling-page"),
        (4, "wiki-dangling-entity"),
        (4, "wiki-dangling-source"),
        (5, "wiki-dangling-connection"),
        (7, "wiki-dangling-source"),
        (7, "wiki-dangling-entity"),
        (7, "wiki-dangling-connection"),
        (7, "wiki-dangling-table"),
    ]
    assert "Did you mean `ok`?" in findings[0].message
    assert "Did you mean `warehouse`?" in findings[3].message


def test_code_that_only_looks_like_a_reference_is_left_alone(tmp_path: Path) -> None:
    write(
        tmp_path,
        "global/p.md",
        "",
        "Run `setup.py`, open `shop.orders`, call `np.mean`; but `order.amount` is a slip.\n",
    )
    findings = check_pages(load_pages(tmp_path / "wiki")[0], KNOWN)
    assert [(f.level, "`order.amount`" in f.message) for f in findings] == [("warning", True)]


def test_a_users_page_may_point_at_their_own_pages_and_a_shared_one_may_not(tmp_path: Path) -> None:
    write(tmp_path, "user/ana/mine.md", "")
    write(tmp_path, "user/ana/p.md", "refs: [mine]\n")
    write(tmp_path, "global/g.md", "refs: [mine]\n")
    findings = check_pages(load_pages(tmp_path / "wiki")[0], KNOWN)
    assert [finding.where.file for finding in findings] == ["wiki/global/g.md"]


def test_a_page_that_cannot_be_read_is_named_and_does_not_hide_the_others(tmp_path: Path) -> None:
    write(tmp_path, "global/good.md", "")
    (tmp_path / "wiki/global/gone.md").symlink_to(tmp_path / "nowhere")
    (tmp_path / "wiki/global/folder.md").mkdir()
    pages, findings = load_pages(tmp_path / "wiki")
    assert [page.key for page in pages] == ["good"]
    assert [(one.code, one.where.file) for one in findings] == [
        ("wiki-unreadable", "wiki/global/folder.md"),
        ("wiki-unreadable", "wiki/global/gone.md"),
    ]
    with pytest.raises(LayerError, match="`gone` cannot be read: No such file"):
        load_page(tmp_path / "wiki", "gone")


def test_a_link_out_of_the_project_is_refused_and_one_inside_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write(root, "global/real.md", "", "ours")
    (tmp_path / "secret.md").write_text("---\nsummary: s\n---\nsecret", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "far.md").write_text("---\nsummary: s\n---\nsecret", encoding="utf-8")
    (root / "wiki" / "user").mkdir()
    (root / "wiki" / "global" / "out.md").symlink_to(tmp_path / "secret.md")
    (root / "wiki" / "global" / "alias.md").symlink_to("real.md")
    (root / "wiki" / "user" / "ana").symlink_to(tmp_path / "folder")
    wiki = root / "wiki"
    pages, findings = load_pages(wiki)
    assert {page.key: page.body for page in pages} == {"real": "ours", "alias": "ours"}
    assert [(finding.code, finding.where.file) for finding in findings] == [
        ("wiki-link", "wiki/global/out.md"),
        ("wiki-link", "wiki/user/ana/far.md"),
    ]
    with pytest.raises(LayerError, match="leads out of the project"):
        load_page(wiki, "out")
    with pytest.raises(LayerError, match="leads out of the project"):
        load_page(wiki, "far", user_id="ana")
