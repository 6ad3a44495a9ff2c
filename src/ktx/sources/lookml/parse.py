"""LookML text to plain mappings: the only user of the `lkml` package, whose quirks end here."""

import logging
from collections.abc import Iterator, Mapping
from typing import TypeAlias, cast

from lkml.lexer import Lexer
from lkml.parser import Parser
from lkml.simple import DictVisitor
from lkml.tokens import ExpressionBlockToken

Block: TypeAlias = Mapping[str, object]
"""Parameters of one LookML object. A repeated object is a list under its plural; each has its `name`."""

logging.getLogger("lkml").setLevel(logging.CRITICAL)


class LookmlError(ValueError):
    """A file is not LookML that can be read; the message is one sentence without its name."""


def parse_lookml(text: str) -> Block:
    """Parse one file.

    Raises:
        LookmlError: it is not LookML, ends early, or goes on after its end.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    try:
        tree = Parser(_Lexer(text).scan()).parse()
        plain = DictVisitor().visit(tree)
        kept = str(tree)
    except (SyntaxError, IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise LookmlError(
            "A brace, a `;;`, a quote or a value is missing or stands where none may."
        ) from error
    except RecursionError:
        raise LookmlError("It is nested too deeply to be read.") from None
    # The parser stops at a brace too many, and says nothing about what follows.
    if "".join(kept.split()) != "".join(text.split()):
        line = _first_difference(kept, text)
        raise LookmlError(f"It goes on after its end, at about line {line}: a brace too many.")
    return cast(Block, plain)


class _Lexer(Lexer):
    """The package's lexer, which would wait for ever at a lone `;` between parameters."""

    _is_in_expression = False

    def peek_multiple(self, length: int) -> str:
        found = super().peek_multiple(length)
        if found == f";{found[1:]}" and length == len(";;") and found != ";;" and not self._is_in_expression:
            raise SyntaxError("a lone `;`")
        return found

    def scan_expression_block(self) -> ExpressionBlockToken:
        self._is_in_expression = True
        try:
            return super().scan_expression_block()
        finally:
            self._is_in_expression = False


def text_of(block: Block, key: str) -> str | None:
    """Give a parameter that is one text, or None."""
    value = block.get(key)
    return value if isinstance(value, str) else None


def words_of(block: Block, key: str) -> str | None:
    """Give a quoted text as people read it: escapes undone, white space made single."""
    value = text_of(block, key)
    return None if value is None else " ".join(unquoted(value).split()) or None


def unquoted(text: str) -> str:
    """Undo the escapes of a quoted text."""
    return text.replace('\\"', '"')


def is_yes(block: Block, key: str) -> bool:
    """Tell whether a switch is on."""
    return block.get(key) == "yes"


def texts_of(block: Block, key: str) -> tuple[str, ...]:
    """Give a parameter that is a list of texts; `extends` and the like may be repeated and are joined."""
    value = block.get(key)
    if value is None:
        repeated = block.get(f"{key}__all")
        lists = cast("list[object]", repeated) if isinstance(repeated, list) else []
        value = [each for one in lists if isinstance(one, list) for each in cast("list[object]", one)]
    if isinstance(value, str):
        return (value,)
    items = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(each for each in items if isinstance(each, str))


def block_of(block: Block, key: str) -> Block | None:
    """Give a parameter that is one object."""
    value = block.get(key)
    return cast(Block, value) if isinstance(value, dict) else None


def blocks_of(block: Block, key: str) -> tuple[Block, ...]:
    """Give the objects under a plural key."""
    value = block.get(key)
    items = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(cast(Block, each) for each in items if isinstance(each, dict))


def named_blocks(block: Block, key: str) -> dict[str, Block]:
    """Give the objects under a plural key by name; the last of a name counts."""
    found = ((text_of(each, "name"), each) for each in blocks_of(block, key))
    return {name: each for name, each in found if name}


def filters_of(block: Block) -> tuple[tuple[str, str], ...]:
    """Give field and filter expression of a `filters` parameter, in its new form and in its old one."""
    return tuple(_filter_pairs(block.get("filters__all")))


def _filter_pairs(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _filter_pairs(each)
    elif isinstance(value, dict):
        pairs = cast("dict[str, object]", value)
        field, told = pairs.get("field"), pairs.get("value")
        if isinstance(field, str) and isinstance(told, str):
            yield field, unquoted(told)
            return
        for field, told in pairs.items():
            if isinstance(told, str):
                yield field, unquoted(told)


def _first_difference(kept: str, text: str) -> int:
    end = len(kept.rstrip())
    return text[:end].count("\n") + 1
