"""Vectors from a server that speaks OpenAI's embeddings API, OpenAI's own or any other.

API: https://platform.openai.com/docs/api-reference/embeddings (one POST per batch; the answer may be in any order).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ValidationError

from ktx.embeddings.embedder import Patience, Vectors
from ktx.errors import ConfigError, OutsideError
from ktx.http import Answer, open_client, post_json

OPENAI_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "text-embedding-3-small"
DEFAULT_BATCH = 128
_MAX_LETTERS = 8_000
_FIRST_WAIT_S = 1.0
_WORTH_A_RETRY = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


class _Vector(BaseModel):
    index: int
    embedding: list[float]


class _Reply(BaseModel):
    data: list[_Vector]


@dataclass(kw_only=True)
class OpenaiEmbedder:
    """One model behind `address`, the part of the URL before `/embeddings`."""

    address: str
    name: str
    api_key: str | None = field(default=None, repr=False)
    batch_size: int = DEFAULT_BATCH
    patience: Patience = field(default_factory=Patience)
    sleep: Callable[[float], None] = time.sleep
    is_remote: bool = True
    _dimensions: int | None = None

    @property
    def model(self) -> str:
        """The model and the server that answers for it."""
        return f"{self.name}@{self.address}"

    def measure_dimensions(self) -> int:
        """Give the length of a vector; the first time, a short text is sent."""
        if self._dimensions is None:
            self._dimensions = int(self.embed(["dimensions"]).shape[1])
        return self._dimensions

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give the vectors of texts, a batch per request."""
        parts = [
            self._batch([text[:_MAX_LETTERS] for text in texts[at : at + self.batch_size]])
            for at in range(0, len(texts), self.batch_size)
        ]
        found: Vectors = np.concatenate(parts)
        self._dimensions = int(found.shape[1])
        return found

    def _batch(self, texts: Sequence[str]) -> Vectors:
        answer = self._ask(texts)
        try:
            reply = _Reply.model_validate_json(answer.body)
        except ValidationError as error:
            message = f"`{self.address}` answered with something else than vectors."
            raise OutsideError(message, hint="Check `base_url` and `model` of the embeddings.") from error
        by_index = {vector.index: vector.embedding for vector in reply.data}
        lengths = {len(vector) for vector in by_index.values()}
        if set(by_index) != set(range(len(texts))) or len(lengths) != 1 or 0 in lengths:
            message = f"`{self.address}` gave {len(by_index)} vectors of lengths {sorted(lengths)} for {len(texts)} texts."
            raise OutsideError(message, hint="Check `model` of the embeddings.")
        found: Vectors = np.array([by_index[at] for at in range(len(texts))], dtype=np.float32)
        size: Vectors = np.linalg.norm(found, axis=1, keepdims=True)
        if not bool(np.isfinite(size).all()):
            raise OutsideError(f"`{self.address}` gave numbers that are none.")
        found /= np.maximum(size, np.float32(1e-12))
        return found

    def _ask(self, texts: Sequence[str]) -> Answer:
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        payload = {"model": self.name, "input": list(texts), "encoding_format": "float"}
        waited, wait = 0.0, _FIRST_WAIT_S
        with open_client(headers=headers, timeout_s=self.patience.answer_s) as client:
            while True:
                answer = post_json(client, f"{self.address}/embeddings", payload)
                if answer.status == 200:
                    return answer
                pause = answer.retry_after_s if answer.retry_after_s is not None else wait
                if answer.status not in _WORTH_A_RETRY or waited + pause > self.patience.retries_s:
                    raise self._refusal(answer)
                self.sleep(pause)
                waited, wait = waited + pause, wait * 2

    def _refusal(self, answer: Answer) -> Exception:
        """Name a refusal by its status alone: a server may put the text it was sent into its message."""
        match answer.status:
            case 401 | 403:
                message = f"`{self.address}` refused the key of the embeddings (HTTP {answer.status})."
                return ConfigError(message, hint="Check `ingest.embeddings.openai.api_key` in ktx.yaml.")
            case 400 | 404 | 422:
                message = f"`{self.address}` knows no embedding model `{self.name}` (HTTP {answer.status})."
                return ConfigError(message, hint="Check `model` and `base_url` of `ingest.embeddings`.")
            case 429:
                return OutsideError(
                    f"`{self.address}` asks to slow down (HTTP 429).", hint="Try again later."
                )
            case _:
                return OutsideError(
                    f"`{self.address}` answered with HTTP {answer.status}.", hint="Try again later."
                )
