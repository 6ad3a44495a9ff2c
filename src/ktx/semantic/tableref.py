"""A physical table's name as people write it in a file: `catalog.schema.name`, parts quoted where they must be."""

from ktx.catalog import TableRef

_CLOSING = {'"': '"', "`": "`", "[": "]"}


def parse_table_ref(text: str) -> TableRef | None:
    """Give the reference, or None when the text is no table name of one to three parts.

    Quotes of any engine (`"a"`, `` `a` ``, `[a]`) are understood, doubled ones inside stand for one; a name without
    quotes may hold blanks and dashes. One pair of backticks around the whole, as BigQuery allows, may hold dots.

    >>> parse_table_ref('sales."v1.2"')
    TableRef(catalog=None, schema='sales', name='v1.2')
    >>> parse_table_ref("`my-project.shop.orders`")
    TableRef(catalog='my-project', schema='shop', name='orders')
    """
    text = text.strip()
    if text.count("`") == 2 and text.startswith("`") and text.endswith("`"):
        text = text[1:-1]
    parts: list[str] = []
    rest = text
    while True:
        closing = _CLOSING.get(rest[:1])
        if closing is None:
            part, dot, rest = rest.partition(".")
            part = part.strip()
        else:
            part, rest = _quoted(rest, closing)
            rest = rest.lstrip()
            dot = rest[:1]
            if dot not in {"", "."}:
                return None
            rest = rest[1:].lstrip()
        if not part:
            return None
        parts.append(part)
        if not dot:
            break
    if len(parts) > 3:
        return None
    padded: list[str | None] = [None] * (3 - len(parts)) + list(parts)
    return TableRef(catalog=padded[0], schema=padded[1], name=parts[-1])


def _quoted(text: str, closing: str) -> tuple[str, str]:
    """Give the content of the quoted name that `text` starts with, and what follows it; no end gives no name."""
    at = 1
    out = ""
    while at < len(text):
        if text[at] != closing:
            out += text[at]
            at += 1
        elif text[at + 1 : at + 2] == closing:
            out += closing
            at += 2
        else:
            return out, text[at + 1 :]
    return "", ""
