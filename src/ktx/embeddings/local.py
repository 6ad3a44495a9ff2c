"""Vectors computed in this process by an installed model: no key, no server, no text leaves the machine."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ktx.embeddings.bert import Bert, Shape
from ktx.embeddings.cache import VOCABULARY, WEIGHTS, ModelRecord
from ktx.embeddings.embedder import Vectors
from ktx.embeddings.tensors import read_tensors
from ktx.embeddings.wordpiece import Tokenizer, read_vocabulary


class LocalEmbedder:
    """A model of the cache. It is loaded at the first text."""

    is_remote = False
    batch_size = 64

    def __init__(self, folder: Path, record: ModelRecord) -> None:
        self._folder = folder
        self._record = record
        self._loaded: tuple[Tokenizer, Bert] | None = None

    @property
    def model(self) -> str:
        """The model and the digest of its weights."""
        return f"{self._record.model}@{self._record.sha256[:12]}"

    def measure_dimensions(self) -> int:
        """Give the length of a vector."""
        return self._load()[1].dimensions

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give the vectors of texts; texts of about the same length are computed together."""
        tokenizer, bert = self._load()
        numbers = [tokenizer.encode(text) for text in texts]
        order = sorted(range(len(numbers)), key=lambda at: len(numbers[at]))
        found = np.empty((len(numbers), bert.dimensions), dtype=np.float32)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            found[chosen] = bert.encode([numbers[at] for at in chosen])
        return found

    def _load(self) -> tuple[Tokenizer, Bert]:
        if self._loaded is None:
            record = self._record
            tokenizer = Tokenizer(read_vocabulary(self._folder / VOCABULARY), max_tokens=record.max_tokens)
            shape = Shape(heads=record.heads, epsilon=record.epsilon)
            self._loaded = (tokenizer, Bert(read_tensors(self._folder / WEIGHTS), shape))
        return self._loaded
