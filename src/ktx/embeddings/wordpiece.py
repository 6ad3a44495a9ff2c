"""WordPiece: how BERT models cut text, written out so that no tokenizer package is needed.

The rules are those of Devlin et al., "BERT" (2019) for lower-cased English models: accents go, punctuation and CJK characters
stand alone, and a word falls into the longest pieces of the vocabulary from its left.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from ktx.errors import ConfigError

_MAX_LETTERS = 100
_CACHED_WORDS = 50_000
_CJK = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


class Tokenizer:
    """Cuts texts into the numbers of a vocabulary, between its `[CLS]` and `[SEP]`."""

    def __init__(self, vocabulary: Mapping[str, int], *, max_tokens: int) -> None:
        self._vocabulary = vocabulary
        self._max_tokens = max_tokens
        self._first, self._last = vocabulary["[CLS]"], vocabulary["[SEP]"]
        self._unknown = vocabulary["[UNK]"]
        self._pieces = lru_cache(maxsize=_CACHED_WORDS)(self._cut)

    def encode(self, text: str) -> list[int]:
        """Give the numbers of a text; what is beyond the model's length is left out."""
        found = [self._first]
        for word in _words(text):
            found.extend(self._pieces(word))
            if len(found) >= self._max_tokens - 1:
                break
        return [*found[: self._max_tokens - 1], self._last]

    def _cut(self, word: str) -> tuple[int, ...]:
        if len(word) > _MAX_LETTERS:
            return (self._unknown,)
        found: list[int] = []
        start = 0
        while start < len(word):
            end = len(word)
            mark = "##" if start else ""
            while end > start and mark + word[start:end] not in self._vocabulary:
                end -= 1
            if end == start:
                return (self._unknown,)
            found.append(self._vocabulary[mark + word[start:end]])
            start = end
        return tuple(found)


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read `vocab.txt`: one piece per line, numbered from 0.

    Raises:
        ConfigError: a piece that every model has is missing.
    """
    pieces = path.read_text(encoding="utf-8").split("\n")
    vocabulary = {piece.rstrip("\r"): number for number, piece in enumerate(pieces) if piece}
    missing = {"[CLS]", "[SEP]", "[UNK]", "[PAD]"} - vocabulary.keys()
    if missing:
        message = f"The vocabulary `{path}` has no `{min(missing)}`."
        raise ConfigError(message, hint="Install the model anew: ktx admin embeddings install --force.")
    return vocabulary


def _words(text: str) -> Iterator[str]:
    if not text.isascii():
        text = unicodedata.normalize("NFD", "".join(map(_spaced, text)).lower())
        text = "".join(letter for letter in text if unicodedata.category(letter) != "Mn")
    for run in text.lower().split():
        start = 0
        for at, letter in enumerate(run):
            if letter.isalnum():
                continue
            kind = unicodedata.category(letter)
            is_mark = letter.isascii() and letter.isprintable()
            if not (is_mark or kind.startswith(("P", "C"))):
                continue
            if start < at:
                yield run[start:at]
            if not kind.startswith("C"):
                yield letter
            start = at + 1
        if start < len(run):
            yield run[start:]


def _spaced(letter: str) -> str:
    code = ord(letter)
    return f" {letter} " if code >= _CJK[0][0] and any(low <= code <= high for low, high in _CJK) else letter
