"""Relationships found in real SQLite files whose tables declare nothing."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from ktx.catalog import Relationship, TableRef
from ktx.config.connections import SqliteConnection
from ktx.scan.relationships.ask import WarehouseProbe
from ktx.scan.relationships.find import Found, Settings, find_relationships
from ktx.warehouse.connect import open_warehouse


def make(folder: Path, tables: Mapping[str, tuple[str, Sequence[tuple[object, ...]]]]) -> Path:
    """Write a database: table name -> (column definitions, rows)."""
    path = folder / "data.sqlite"
    connection = sqlite3.connect(path)
    for name, (columns, rows) in tables.items():
        connection.execute(f'CREATE TABLE "{name}" ({columns})')
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f'INSERT INTO "{name}" VALUES ({marks})', rows)
    connection.commit()
    connection.close()
    return path


def find(path: Path, *, settings: Settings | None = None, decided: Sequence[Relationship] = ()) -> Found:
    connection = SqliteConnection(driver="sqlite", path=str(path))
    with open_warehouse("shop", connection, path.parent) as warehouse:
        catalog = warehouse.read_catalog()
        profiles = {table.ref: warehouse.profile_table(table) for table in catalog.tables}
        return find_relationships(
            catalog,
            profiles,
            settings=settings or Settings(),
            probe=WarehouseProbe(warehouse),
            decided=decided,
        )


def links(found: Found, decision: str = "accepted") -> set[str]:
    return {
        f"{one.source.name}.{'+'.join(one.source_columns)} -> {one.target.name}.{'+'.join(one.target_columns)}"
        for one in found.decided(decision)
    }


def rows(count: int, *columns: object) -> list[tuple[object, ...]]:
    return [
        tuple(column(number) if callable(column) else column for column in columns)
        for number in range(1, count + 1)
    ]


def test_dense_numbers_alone_accept_nothing(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        {
            "parts": ("id INTEGER, quantity INTEGER, rating INTEGER", rows(50, int, lambda n: n % 9 + 1, lambda n: n % 5 + 1)),
            "visits": ("id INTEGER, duration_min INTEGER, extra INTEGER", rows(80, int, lambda n: n % 40 + 1, lambda n: n % 7 + 1)),
        },
    )  # fmt: skip
    assert links(find(path)) == set()


def test_many_tables_that_all_have_an_id_keep_their_own_references(tmp_path: Path) -> None:
    nouns = [
        f"{first}{second}"
        for first in ("red", "blue", "green", "grey", "pink")
        for second in ("fox", "owl", "elk", "cod")
    ]
    tables: dict[str, tuple[str, list[tuple[object, ...]]]] = {}
    for index, noun in enumerate(nouns):
        other = nouns[(index + 1) % len(nouns)]
        tables[f"{noun}s"] = (
            f"id INTEGER, {other}_id INTEGER, size INTEGER",
            rows(20, int, lambda n: n % 10 + 1, int),
        )
    found = find(make(tmp_path, tables), settings=Settings(budget=2 * len(tables)))
    expected = {
        f"{noun}s.{nouns[(i + 1) % len(nouns)]}_id -> {nouns[(i + 1) % len(nouns)]}s.id"
        for i, noun in enumerate(nouns)
    }
    assert links(found) == expected
    assert not found.unasked


def test_abbreviated_and_foreign_words_find_their_tables(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        {
            "customer": ("no INTEGER, nm TEXT", rows(20, int, lambda n: f"C{n}")),
            "kunden": ("kunden_nr INTEGER, ort TEXT", rows(20, lambda n: n + 100, lambda n: f"Ort{n % 3}")),
            "bestellungen": ("bestell_nr INTEGER, kunden_nr INTEGER", rows(60, lambda n: n + 900, lambda n: n % 20 + 101)),
            "clientes": ("id_cliente INTEGER, ciudad TEXT", rows(15, int, lambda n: f"c{n % 4}")),
            "pedidos": ("id_pedido INTEGER, id_cliente INTEGER", rows(40, int, lambda n: n % 15 + 1)),
            "inv": ("inv_id INTEGER, cust_no INTEGER, total REAL", rows(40, int, lambda n: n % 20 + 1, float)),
        },
    )  # fmt: skip
    assert links(find(path)) == {
        "bestellungen.kunden_nr -> kunden.kunden_nr",
        "pedidos.id_cliente -> clientes.id_cliente",
        "inv.cust_no -> customer.no",
    }


def test_column_prefixes_of_each_table_are_set_aside(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        {
            "customer": ("c_custkey INTEGER, c_name TEXT, c_nationkey INTEGER", rows(30, int, lambda n: f"n{n}", lambda n: n % 5)),
            "nation": ("n_nationkey INTEGER, n_name TEXT, n_comment TEXT", [(n, f"N{n}", "x") for n in range(5)]),
            "orders": ("o_orderkey INTEGER, o_custkey INTEGER, o_total REAL", rows(90, lambda n: n * 4, lambda n: n % 30 + 1, float)),
        },
    )  # fmt: skip
    assert links(find(path)) == {
        "customer.c_nationkey -> nation.n_nationkey",
        "orders.o_custkey -> customer.c_custkey",
    }


def test_keys_without_any_naming_convention_are_found_by_their_values(tmp_path: Path) -> None:
    def uuid(number: int) -> str:
        return f"{(number * 2654435761) % 2**32:08x}-{(number * 40503) % 2**16:04x}-4{number % 4096:03x}"

    path = make(
        tmp_path,
        {
            "t1": ("a TEXT, b TEXT", rows(200, uuid, lambda n: f"word {n % 7}")),
            "t2": ("a TEXT, q TEXT", rows(300, lambda n: uuid(n + 5000), lambda n: uuid(n % 150 + 1))),
            "t3": ("k TEXT, r TEXT", rows(100, lambda n: uuid(n + 9000), lambda n: uuid(n % 90 + 5001))),
        },
    )
    assert links(find(path)) == {"t2.q -> t1.a", "t3.r -> t2.a"}


def test_self_role_playing_and_composite_references_are_told_apart(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        {
            "addresses": ("id INTEGER, street TEXT", rows(30, int, lambda n: f"s{n}")),
            "employees": ("id INTEGER, manager_id INTEGER", [(n, None if n == 1 else n // 2) for n in range(1, 31)]),
            "orders": (
                "id INTEGER, ship_address_id INTEGER, bill_address_id INTEGER",
                rows(60, int, lambda n: n % 30 + 1, lambda n: n % 20 + 1),
            ),
            "order_lines": ("order_id INTEGER, line_no INTEGER, qty INTEGER", rows(90, lambda n: (n - 1) // 2 + 1, lambda n: (n - 1) % 2, int)),
            "line_notes": ("id INTEGER, order_id INTEGER, line_no INTEGER", rows(40, int, lambda n: n % 20 + 1, lambda n: n % 2)),
        },
    )  # fmt: skip
    assert links(find(path)) == {
        "employees.manager_id -> employees.id",
        "orders.ship_address_id -> addresses.id",
        "orders.bill_address_id -> addresses.id",
        "order_lines.order_id -> orders.id",
        "line_notes.order_id -> orders.id",
        "line_notes.order_id+line_no -> order_lines.order_id+line_no",
    }


def test_a_polymorphic_reference_keeps_its_condition(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        {
            "posts": ("id INTEGER, body TEXT", rows(10, int, lambda n: f"b{n}")),
            "photos": ("id INTEGER, path TEXT", rows(5, int, lambda n: f"p{n}")),
            "comments": (
                "id INTEGER, commentable_type TEXT, commentable_id INTEGER",
                [(n, "Post", n) for n in range(1, 11)] + [(n + 20, "Photo", n % 5 + 1) for n in range(10)],
            ),
        },
    )
    found = find(path)
    assert {(one.target.name, one.condition) for one in found.decided("accepted")} == {
        ("posts", ("commentable_type", "Post")),
        ("photos", ("commentable_type", "Photo")),
    }


def test_values_without_a_partner_leave_the_reference_to_a_person(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        {
            "planes": ("tail TEXT, maker TEXT", rows(80, lambda n: f"N{n:04}", lambda n: f"m{n % 3}")),
            "flights": ("id INTEGER, tail TEXT", rows(200, int, lambda n: f"N{n % 100 + 1:04}")),
        },
    )
    found = find(path)
    assert links(found, "review") == {"flights.tail -> planes.tail"}
    (one,) = found.decided("review")
    assert "20 of 100 distinct values have no partner" in [evidence.detail for evidence in one.evidence]


def test_a_budget_of_zero_asks_nothing_and_says_what_it_did_not_ask(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        {
            "users": ("id INTEGER, nick TEXT", rows(10, int, lambda n: f"u{n}")),
            "posts": ("id INTEGER, user_id INTEGER", rows(30, int, lambda n: n % 10 + 1)),
        },
    )
    found = find(path, settings=Settings(budget=0))
    assert found.queries == 0
    assert links(found) == set()
    assert links(found, "review") == {"posts.user_id -> users.id"}
    assert found.unasked == ("references of posts (user_id)",)


def test_a_rejection_by_a_person_stands_against_the_data(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        {
            "users": ("id INTEGER, nick TEXT", rows(10, int, lambda n: f"u{n}")),
            "posts": ("id INTEGER, user_id INTEGER", rows(30, int, lambda n: n % 10 + 1)),
        },
    )
    rejected = Relationship(
        source=TableRef(name="posts"),
        source_columns=("user_id",),
        target=TableRef(name="users"),
        target_columns=("id",),
        origin="manual",
        decision="rejected",
    )
    found = find(path, decided=[rejected])
    assert links(found) == set()
    assert links(found, "review") == set()


def test_a_column_that_plays_another_role_beside_a_known_one_waits_for_a_person(tmp_path: Path) -> None:
    def code(number: int) -> str:
        return f"{chr(65 + number % 26)}{chr(65 + number * 7 % 26)}{chr(65 + number * 11 % 23)}"

    ports = sorted({code(n) for n in range(1, 200)})
    path = make(
        tmp_path,
        {
            "ports": ("faa TEXT, lat REAL", [(one, 1.5) for one in ports]),
            "trips": (
                "no INTEGER, dest TEXT, origin TEXT, deck TEXT",
                rows(300, int, lambda n: ports[n % 120], lambda n: ports[n % 3], lambda n: "UML"[n % 3]),
            ),
            "weather": ("origin TEXT, day INTEGER, humid REAL", rows(60, lambda n: ports[n % 3], lambda n: n // 3, float)),
        },
    )  # fmt: skip
    found = find(path)
    assert {"trips.dest -> ports.faa", "trips.origin -> ports.faa", "weather.origin -> ports.faa"} <= (
        links(found) | links(found, "review")
    )
    assert "trips.origin -> ports.faa" not in links(found)
    assert not [one for one in found.relationships if "deck" in one.source_columns]
    (origin,) = [
        one for one in found.relationships if one.source_columns == ("origin",) and one.source.name == "trips"
    ]
    assert "`dest` of the same table refers there" in [reason.detail for reason in origin.evidence]


def test_a_key_of_a_thing_and_a_moment_is_found_where_another_table_has_both(tmp_path: Path) -> None:
    def hour(number: int) -> str:
        return f"2024-01-{number // 24 + 1:02} {number % 24:02}:00:00"

    path = make(
        tmp_path,
        {
            "readings": (
                "site TEXT, at_hour TIMESTAMP, humid REAL",
                [(site, hour(n), n / 3) for site in ("north", "south", "west") for n in range(100)],
            ),
            "trips": (
                "trip_no INTEGER, site TEXT, at_hour TIMESTAMP",
                rows(400, int, lambda n: ("north", "south")[n % 2], lambda n: hour(n % 90)),
            ),
        },
    )  # fmt: skip
    found = find(path)
    assert links(found) == {"trips.site+at_hour -> readings.site+at_hour"}
    assert {key.columns for key in found.keys.primary.values()} == {("site", "at_hour"), ("trip_no",)}
