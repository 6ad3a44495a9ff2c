"""The one gate between sampled rows and a language model: what looks personal or secret is replaced by its kind."""

import re
from collections.abc import Sequence
from typing import Literal

from ktx.catalog import Table
from ktx.names import words

Samples = Literal["none", "masked", "full"]

_MOST_CHARACTERS = 120
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_TOKEN = re.compile(
    r"\b(?:sk-[\w-]{8,}|gh[pousr]_\w{16,}|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{12,}|eyJ[\w-]{8,}\.[\w-]+\.?[\w-]*|"
    r"(?=[A-Za-z0-9+/_-]*\d)(?=[A-Za-z0-9+/_-]*[A-Z])(?=[A-Za-z0-9+/_-]*[a-z])[A-Za-z0-9+/_-]{28,}={0,2})"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")
_NATIONAL_ID = re.compile(r"\b\d{3}-\d{2}-\d{4}\b|\b\d{8}[A-HJ-NP-TV-Z]\b|\b[A-Z]{2}\d{6}[A-D]\b")
_CARD = re.compile(r"\b\d(?:[ -]?\d){12,18}\b")
_PHONE = re.compile(r"(?:\+\d[\d ()./-]{6,}\d|\b\(?\d{2,4}\)?[ ./-]\d{2,4}[ ./-]\d{3,}(?:[ ./-]\d+)*\b)")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

_BY_COLUMN: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"email", "mail"}), "email"),
    (frozenset({"phone", "mobile", "telephone", "fax", "telefon"}), "phone"),
    (frozenset({"ssn", "passport", "dni", "nif", "nin", "taxid", "steuernummer"}), "national id"),
    (frozenset({"password", "passwd", "secret", "token", "apikey", "hash", "salt", "pin"}), "secret"),
    (frozenset({"iban", "card", "creditcard", "cvv"}), "payment detail"),
    (
        frozenset(
            {"firstname", "lastname", "fullname", "surname", "forename", "nachname", "vorname", "username"}
        ),
        "person name",
    ),
    (frozenset({"street", "address", "strasse", "addr"}), "address"),
    (frozenset({"birthday", "birthdate", "dob", "geburtsdatum"}), "birth date"),
    (frozenset({"ip", "ipaddress"}), "ip address"),
)
_PERSON_NAMES = frozenset(
    {"first", "last", "full", "contact", "middle", "given", "family", "maiden", "display", "legal"}
)
_PEOPLE = frozenset(
    ["customer", "customers", "user", "users", "employee", "employees", "person", "persons", "people", "contact", "contacts", "patient", "patients", "member", "members", "staff", "student", "students", "driver", "drivers", "passenger", "passengers", "guest", "guests", "client", "clients", "author", "authors", "lead", "leads"]
)  # fmt: skip


def redact_rows(
    table: Table, rows: Sequence[Sequence[object]], columns: Sequence[str], *, samples: Samples
) -> list[dict[str, str | None]]:
    """Give rows as text that may leave the machine: nothing for `none`, kinds instead of values for `masked`."""
    if samples == "none":
        return []
    kinds = {name: column_kind(table, name) for name in columns}
    return [
        {
            name: None if value is None else _cell(str(value), kinds[name], is_full=samples == "full")
            for name, value in zip(columns, row, strict=True)
        }
        for row in rows
    ]


def column_kind(table: Table, name: str) -> str | None:
    """Say what personal thing a column holds by its name, if any.

    >>> from ktx.catalog import TableRef
    >>> table = Table(ref=TableRef(name="customers"))
    >>> column_kind(table, "first_name"), column_kind(table, "name"), column_kind(table, "segment")
    ('person name', 'person name', None)
    """
    parts = words(name)
    joined = "".join(parts)
    for known, kind in _BY_COLUMN:
        if known & {*parts, joined}:
            return kind
    if parts[-1:] == ("name",) and (
        set(parts) & _PERSON_NAMES or (len(parts) == 1 and set(words(table.ref.name)) & _PEOPLE)
    ):
        return "person name"
    if {"birth", "date"} <= set(parts) or {"tax", "id"} <= set(parts) or {"national", "id"} <= set(parts):
        return "national id" if "id" in parts else "birth date"
    return None


def redact_text(text: str) -> str:
    """Replace what looks personal or secret inside a text.

    >>> redact_text("mail ana@example.com or call +49 30 1234567")
    'mail <email> or call <phone>'
    >>> redact_text("4111 1111 1111 1111"), redact_text("2024-01-31"), redact_text("order 1234567890123")
    ('<card>', '2024-01-31', 'order 1234567890123')
    """
    text = _EMAIL.sub("<email>", text)
    text = _TOKEN.sub("<token>", text)
    text = _IBAN.sub("<iban>", text)
    text = _NATIONAL_ID.sub("<national id>", text)
    text = _CARD.sub(lambda found: "<card>" if _is_card(found[0]) else found[0], text)
    return _PHONE.sub(lambda found: found[0] if _DATE.match(found[0]) else "<phone>", text)


def _cell(text: str, kind: str | None, *, is_full: bool) -> str:
    if not is_full:
        text = f"<{kind}>" if kind else redact_text(text)
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"


def _is_card(text: str) -> bool:
    """Whether digits pass the Luhn check, as card numbers do."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
