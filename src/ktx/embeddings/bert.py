"""A BERT encoder as plain array arithmetic: token numbers in, one vector of length 1 per text out.

Formulas: Devlin et al., "BERT" (2019), the error function by Abramowitz and Stegun 7.1.26 (off by less than 2e-7), mean pooling
over the tokens of a text as sentence-transformers does it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ktx.embeddings.tensors import Tensors

Floats = NDArray[np.float32]
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_MASKED = np.float32(-1e9)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the weights alone do not say."""

    heads: int
    epsilon: float = 1e-12


@dataclass(frozen=True, kw_only=True)
class _Layer:
    query_key_value: tuple[Floats, Floats]
    joined: tuple[Floats, Floats]
    joined_norm: tuple[Floats, Floats]
    wide: tuple[Floats, Floats]
    narrow: tuple[Floats, Floats]
    narrow_norm: tuple[Floats, Floats]


class Bert:
    """The encoder over its weights. The table of words stays in the file; everything else is taken into memory."""

    def __init__(self, tensors: Tensors, shape: Shape) -> None:
        self._shape = shape
        self._words = tensors["embeddings.word_embeddings.weight"]
        kinds = tensors["embeddings.token_type_embeddings.weight"]
        places = tensors["embeddings.position_embeddings.weight"]
        self._places: Floats = places.astype(np.float32) + kinds[0].astype(np.float32)
        self._norm = _pair(tensors, "embeddings.LayerNorm")
        self._layers = tuple(_layer(tensors, at) for at in range(_count(tensors)))

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return int(self._words.shape[1])

    def encode(self, batch: Sequence[Sequence[int]]) -> Floats:
        """Give one vector per list of token numbers; lists of about the same length go best together."""
        longest = max(map(len, batch))
        tokens = np.zeros((len(batch), longest), dtype=np.int64)
        mask = np.zeros((len(batch), longest), dtype=np.float32)
        for row, numbers in enumerate(batch):
            tokens[row, : len(numbers)] = numbers
            mask[row, : len(numbers)] = 1.0
        state: Floats = self._words[tokens].astype(np.float32) + self._places[:longest]
        state = _normed(state, self._norm, self._shape.epsilon)
        hidden = np.where(mask > 0, np.float32(0), _MASKED)[:, None, None, :]
        for layer in self._layers:
            state = self._pass(state, layer, hidden)
        pooled: Floats = (state * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        length: Floats = np.linalg.norm(pooled, axis=1, keepdims=True)
        pooled /= np.maximum(length, np.float32(1e-12))
        return pooled

    def _pass(self, state: Floats, layer: _Layer, hidden: Floats) -> Floats:
        texts, longest, width = state.shape
        heads = self._shape.heads
        each = width // heads
        split = _dense(state, layer.query_key_value).reshape(texts, longest, 3, heads, each)
        query, key, value = split.transpose(2, 0, 3, 1, 4)
        weights: Floats = query @ key.swapaxes(-1, -2)
        weights *= np.float32(1 / math.sqrt(each))
        weights += hidden
        weights -= weights.max(axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights.sum(axis=-1, keepdims=True)
        seen: Floats = (weights @ value).transpose(0, 2, 1, 3).reshape(texts, longest, width)
        seen = _dense(seen, layer.joined)
        seen += state
        seen = _normed(seen, layer.joined_norm, self._shape.epsilon)
        far = _dense(_gelu(_dense(seen, layer.wide)), layer.narrow)
        far += seen
        return _normed(far, layer.narrow_norm, self._shape.epsilon)


def _dense(state: Floats, weights: tuple[Floats, Floats]) -> Floats:
    matrix, bias = weights
    flat: Floats = state.reshape(-1, state.shape[-1]) @ matrix
    flat += bias
    return flat.reshape(*state.shape[:-1], matrix.shape[1])


def _normed(state: Floats, weights: tuple[Floats, Floats], epsilon: float) -> Floats:
    centred: Floats = state - state.mean(axis=-1, keepdims=True)
    spread: Floats = np.einsum("...i,...i->...", centred, centred)[..., None] / np.float32(state.shape[-1])
    centred /= np.sqrt(spread + np.float32(epsilon))
    centred *= weights[0]
    centred += weights[1]
    return centred


def _gelu(state: Floats) -> Floats:
    at: Floats = np.abs(state)
    at *= np.float32(1 / math.sqrt(2))
    step: Floats = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * at)
    sum_: Floats = np.full_like(step, np.float32(_ERF[-1]))
    for factor in reversed(_ERF[:-1]):
        sum_ *= step
        sum_ += np.float32(factor)
    sum_ *= step
    at *= at
    sum_ *= np.exp(-at)
    error: Floats = np.copysign(np.float32(1) - sum_, state)
    error += np.float32(1)
    error *= state
    error *= np.float32(0.5)
    return error


def _count(tensors: Tensors) -> int:
    return 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layer."))


def _pair(tensors: Tensors, name: str) -> tuple[Floats, Floats]:
    """Take a weight and its bias; a matrix is turned so that a row of numbers multiplies it from the left."""
    weight = tensors[f"{name}.weight"].astype(np.float32)
    turned = np.ascontiguousarray(weight.T) if weight.ndim == 2 else weight
    return turned, tensors[f"{name}.bias"].astype(np.float32)


def _layer(tensors: Tensors, number: int) -> _Layer:
    name = f"encoder.layer.{number}"
    parts = [_pair(tensors, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
    return _Layer(
        query_key_value=(
            np.ascontiguousarray(np.concatenate([matrix for matrix, _ in parts], axis=1)),
            np.concatenate([bias for _, bias in parts]),
        ),
        joined=_pair(tensors, f"{name}.attention.output.dense"),
        joined_norm=_pair(tensors, f"{name}.attention.output.LayerNorm"),
        wide=_pair(tensors, f"{name}.intermediate.dense"),
        narrow=_pair(tensors, f"{name}.output.dense"),
        narrow_norm=_pair(tensors, f"{name}.output.LayerNorm"),
    )
