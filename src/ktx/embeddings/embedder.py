"""What every source of vectors offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Vectors: TypeAlias = "NDArray[np.float32]"
"""One row per text, each of length 1, so that a dot product is a cosine."""


class Embedder(Protocol):
    """A model that turns texts into vectors. Nothing is loaded or sent before the first text."""

    @property
    def model(self) -> str:
        """The model's identity: two embedders of the same identity give the same vectors."""
        ...

    @property
    def batch_size(self) -> int:
        """How many texts one call carries best."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether texts leave this machine, so that each call costs a round trip."""
        ...

    def measure_dimensions(self) -> int:
        """Give the length of a vector, by asking where it is not known.

        Raises:
            OutsideError: the other side does not answer.
        """
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give the vectors of texts, in their order.

        Raises:
            OutsideError: the other side does not answer, or with something else than vectors.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class NoEmbedder:
    """Why there are no vectors. `is_chosen` tells a decision from something that is missing; `fix` is the way to them."""

    reason: str
    fix: str | None = None
    is_chosen: bool = False


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait: `answer_s` for one answer, `retries_s` in all for a server that asks to come back later."""

    answer_s: float = 60.0
    retries_s: float = 120.0
