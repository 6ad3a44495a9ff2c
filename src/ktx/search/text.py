"""Words for search: how a text, an identifier and a question are cut and folded, the same way on both sides.

The index stems with SQLite's porter tokenizer, so that `orders` finds `order`; words of other languages pass it nearly
unchanged. What SQLite cannot do is done here before it sees the text: identifiers fall apart at case changes, digits and
`_`, and scripts written without blanks become single characters, which a phrase puts together again.
"""

import re
import unicodedata

_SPLIT = re.compile(
    r"(?<=[a-z\u00df-\u00f6\u00f8-\u00ff])(?=[A-Z\u00c0-\u00d6\u00d8-\u00de])"
    r"|(?<=[A-Z])(?=[A-Z][a-z])"
    r"|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|_+"
)
_MAY_SPLIT = re.compile(r"[A-Z0-9_](?:(?<=_)|(?<=[A-Za-z0-9][A-Z0-9])|(?<=[0-9])(?=[A-Za-z]))")
"""Finds in ASCII whatever `_SPLIT` finds, and a little more: most texts have nothing to split, and this is many times faster."""
_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff])")
_MAX_WORDS = 32
_MAX_LETTERS = 64
STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "did",
        "do",
        "does",
        "each",
        "every",
        "for",
        "from",
        "give",
        "had",
        "has",
        "have",
        "how",
        "i",
        "in",
        "is",
        "it",
        "its",
        "list",
        "many",
        "me",
        "much",
        "my",
        "of",
        "on",
        "or",
        "our",
        "per",
        "please",
        "show",
        "tell",
        "that",
        "the",
        "their",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "us",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "you",
        "your",
    ]
)


def split_text(text: str) -> str:
    """Cut identifiers and unspaced scripts into words, and leave the rest as it is.

    >>> split_text("orderItems_v2 HTTPServer")
    'order Items v 2 HTTP Server'
    >>> split_text("売上")
    ' 売  上 '
    """
    if text.isascii() and _MAY_SPLIT.search(text) is None:
        return text
    cut = _SPLIT.sub(" ", text)
    return cut if cut.isascii() else _UNSPACED.sub(r" \1 ", cut)


def fold(text: str) -> str:
    r"""Fold case, accents and width away, for comparing values and parts of words.

    >>> fold("  Ünïted\tSTATES ")
    'united states'
    """
    if not text.isascii():
        plain = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(text.casefold().split())


def name_text(name: str) -> str:
    """Give what is indexed for a name: its words, and the whole again without its seams.

    >>> name_text("order_items")
    'order items orderitems'
    """
    parts = _WORD.findall(split_text(name))
    if len(parts) < 2:
        return " ".join(parts)
    return f"{' '.join(parts)} {''.join(parts)}".casefold()


def name_parts(text: str) -> tuple[str, ...]:
    """Give the folded words inside what `name_text` wrote, without its joined form.

    >>> name_parts("order items orderitems")
    ('order', 'items')
    """
    parts = fold(text).split(" ")
    pairs = zip([""] * bool(parts) + parts, parts, strict=False)
    return tuple(part for before, part in pairs if not (before and part != before and part.endswith(before)))


def words_of(text: str) -> tuple[str, ...]:
    """Give the folded words of a text, those of identifiers apart.

    >>> words_of("billing-API_v2")
    ('billing', 'api', 'v', '2')
    """
    return tuple(fold(word) for word in _WORD.findall(split_text(text)))


def query_terms(question: str) -> tuple[str, ...]:
    """Give the words of a question in order, once each, without those that carry no meaning.

    A run of an unspaced script stays one term, its characters apart. When nothing but small words was asked, they count.

    >>> query_terms("How many orderItems per order_id?")
    ('order', 'items', 'id')
    """
    found: dict[str, None] = {}
    for run in _WORD.findall(_SPLIT.sub(" ", question.replace("\x00", " "))):
        term = fold(run)[:_MAX_LETTERS]
        if term:
            found.setdefault(_UNSPACED.sub(r" \1 ", term).strip() if not run.isascii() else term, None)
    telling = [term for term in found if term not in STOP_WORDS]
    return tuple((telling or list(found))[:_MAX_WORDS])


def quote(term: str) -> str:
    """Write a term as an FTS5 string, in which no character has a meaning.

    >>> quote('say "hi" OR -x')
    '"say ""hi"" OR -x"'
    """
    return '"' + term.replace("\x00", " ").replace('"', '""') + '"'


def any_of(terms: tuple[str, ...]) -> str:
    """Give the FTS5 expression that finds a text with any of the terms."""
    return " OR ".join(quote(term) for term in terms)


def all_of(terms: tuple[str, ...]) -> str:
    """Give the FTS5 expression that finds a text with all of the terms."""
    return " AND ".join(quote(term) for term in terms)


def excerpt(text: str, terms: tuple[str, ...], *, max_letters: int = 240) -> str:
    r"""Give the stretch of a text around the line with most of the terms, on one line.

    >>> excerpt("# Title\n\nNothing here.\nRefunds reduce revenue.\n", ("revenue",), max_letters=24)
    'Refunds reduce revenue.'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    stems = [term.replace(" ", "")[:5] if len(term) > 5 else term.replace(" ", "") for term in terms]
    scores = [sum(stem in folded for stem in stems) for folded in (fold(line) for line in lines)]
    best = max(range(len(lines)), key=lambda at: (scores[at], -at))
    chosen = " ".join(lines[best:])
    return chosen if len(chosen) <= max_letters else chosen[: max_letters - 1].rstrip() + "…"
