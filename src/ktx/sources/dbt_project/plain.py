"""Plain values from outside, taken as what they should be: whatever has another shape counts as not said."""

from typing import cast


def as_map(value: object) -> dict[str, object]:
    """Give a mapping with text keys; empty for anything else."""
    if not isinstance(value, dict):
        return {}
    return {str(key): one for key, one in cast("dict[object, object]", value).items()}


def is_map(value: object) -> bool:
    """Tell whether it is a mapping."""
    return isinstance(value, dict)


def as_list(value: object) -> list[object]:
    """Give a list; one text counts as a list of it, anything else as empty."""
    if isinstance(value, str):
        return [value]
    return list(cast("list[object]", value)) if isinstance(value, list) else []


def as_maps(value: object) -> list[dict[str, object]]:
    """Give the mappings of a list."""
    return [as_map(one) for one in as_list(value) if is_map(one)]


def as_text(value: object) -> str:
    """Give trimmed text without control characters; a number counts as its text, anything else as empty."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = str(value)
    return "".join(one for one in text if one in "\n\t" or one.isprintable()).strip()


def as_name(value: object) -> str:
    """Give text on one line, at most 200 characters of it."""
    return " ".join(as_text(value).split())[:200]


def as_texts(value: object) -> tuple[str, ...]:
    """Give the texts of a list, or of one text."""
    return tuple(text for one in as_list(value) if (text := as_text(one)))


def text_or_none(value: object) -> str | None:
    """Give text, or None when there is none."""
    return as_text(value) or None


def as_flag(value: object, *, default: bool) -> bool:
    """Give a truth value, also when it is spelled as text."""
    if isinstance(value, bool):
        return value
    spelled = as_text(value).lower()
    return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(
        spelled, default
    )


def expression_text(value: object) -> str | None:
    """Give an expression as text; numbers and truth values are written as SQL has them."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return text_or_none(value)
