"""What the words of an identifier mean to relationship discovery: key words, noise, roles, and how alike two words are.

The lists are general knowledge of how people name tables and columns in several languages; none comes from a particular
schema. Everything here is pure.
"""

from functools import lru_cache


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


STRONG_KEYS = _set(
    "id ids key pk fk sk bk uuid guid oid rowid ident identifier kennung clave cle chave schluessel"
)
"""Words that make a column a key whatever stands beside them."""
WEAK_KEYS = _set(
    "code cd no nr num nbr number ref reference sku nummer numero nro nº codigo cod kod kode codice isbn ean iban vin handle slug"
)
"""Words that make a column a key unless the rest of the name says attribute (`phone_number`, `zip_code`)."""
KEY_WORDS = STRONG_KEYS | WEAK_KEYS
GLUED_KEYS = (
    "uuid",
    "guid",
    "code",
    "nummer",
    "number",
    "key",
    "num",
    "nbr",
    "id",
    "no",
    "nr",
    "cd",
    "fk",
    "sk",
)
"""Endings that stand for a key word when a name has no separators (`customerid`), longest first."""

ATTRIBUTES = _set(
    "email mail phone fax mobile telephone name firstname lastname fullname nm title description desc note notes comment text body "
    "subject message url uri link path address street city zip postal postcode plz region latitude longitude lat lon lng "
    "date time timestamp ts dt at datum fecha day month year week hour minute second created updated modified deleted "
    "amount amt price cost total sum subtotal tax discount rate pct percent percentage ratio margin revenue value val "
    "qty quantity unit units count cnt score points weight height width length size balance duration age salary budget stock level "
    "flag is has active enabled status stat state gender sex color colour currency locale language version hash password "
    "token secret hours minutes seconds days bytes milliseconds"
)
"""Words of what is measured or described, not referred to."""
NEVER_WITH_WEAK_KEYS = _set(
    "phone fax mobile telephone zip postal post house street tax vat serial version line row sequence seq page room seat floor "
    "discount coupon error response http area"
)
"""With a weak key word these still name an attribute: `zip_code`, `line_number`, `tax_no`."""

NOISE_PREFIXES = _set(
    "stg stage staging dim fct fact facts tbl tb t mart mrt src source raw vw v view ref lkp lookup lu int intermediate base ods edw "
    "dw dwh sys app"
)
NOISE_SUFFIXES = _set(
    "hdr header head master mst main base tbl table tab dim fact data info list record records lookup lkp ref view vw"
)
COPIES = _set(
    "bak backup tmp temp old archive archived copy hist history snapshot test deprecated legacy arch"
)
"""Words of tables that repeat another table; a reference means the original."""

SELF_ROLES = _set(
    "parent predecessor successor previous prev prior next original orig root superior canonical replaces replaced replacement "
    "duplicate merged ancestor vorgaenger nachfolger padre eltern upper"
)
PERSON_ROLES = _set(
    "owner manager mgr rep representative agent assignee author creator approver reviewer supervisor boss salesperson salesrep "
    "assigned reports reported reporter requester requestor handler editor writer lead coordinator inspector operator "
    "created updated modified deleted approved reviewed submitted uploaded invited verantwortlicher responsable"
)
PEOPLE = _set(
    "user employee staff person people member worker usr emp account agent contact mitarbeiter benutzer empleado usuario utilisateur "
    "employe personal profile author"
)
LINKING = _set("to by of the for a an de du des la le von der den da do dos el")
"""Words that join others and refer to nothing."""

_IRREGULAR = {
    "people": "person", "children": "child", "men": "man", "women": "woman", "mice": "mouse", "indices": "index",
    "matrices": "matrix", "vertices": "vertex", "statuses": "status", "addresses": "address", "data": "datum", "media": "medium",
}  # fmt: skip


@lru_cache(maxsize=65536)
def singular(word: str) -> str:
    """Give the singular of an English plural; any other word comes back as it is.

    >>> [singular(word) for word in ("orders", "categories", "boxes", "status", "people", "class")]
    ['order', 'category', 'box', 'status', 'person', 'class']
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("xes", "ches", "shes", "sses", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


@lru_cache(maxsize=262144)
def likeness(one: str, other: str) -> float:
    """Tell from 0 to 1 how surely two words name the same thing: equal, inflected, or one abbreviates the other.

    >>> likeness("customer", "customers"), likeness("kunde", "kunden"), likeness("cust", "customer")
    (1.0, 0.96, 0.93)
    >>> likeness("hdr", "header") > 0.8, likeness("ship", "order")
    (True, 0.0)
    """
    one, other = singular(one), singular(other)
    if one == other:
        return 1.0
    if not one or not other or one[0] != other[0]:
        return 0.0
    short, long = sorted((one, other), key=len)
    shared = _shared_prefix(short, long)
    if shared >= 4 and len(short) - shared <= 2 and len(long) - shared <= 2:
        return 0.96
    if len(short) >= 3 and shared == len(short):
        return 0.93 if len(short) * 4 >= len(long) else 0.0
    if len(short) >= 3 and len(long) > len(short) and _abbreviates(short, long):
        return 0.88
    return 0.0


def initials(parts: tuple[str, ...]) -> str:
    """Give the first letters of several words.

    >>> initials(("purchase", "orders"))
    'po'
    """
    return "".join(part[0] for part in parts if part)


def _shared_prefix(short: str, long: str) -> int:
    count = 0
    for left, right in zip(short, long, strict=False):
        if left != right:
            break
        count += 1
    return count


def _abbreviates(short: str, long: str) -> bool:
    """Whether the letters of `short` occur in order in `long`, and those left out include its vowels: `mgr`, `acct`."""
    position = 0
    for letter in short:
        position = long.find(letter, position) + 1
        if position == 0:
            return False
    vowels = sum(letter in "aeiouäöüáéíóú" for letter in short[1:])
    return vowels == 0 or (vowels == 1 and len(short) >= 4)
