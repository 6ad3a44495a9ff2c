"""A BERT small enough for arithmetic by hand: random weights, a vocabulary of a few pieces, and its forward pass in plain Python."""

import math
from pathlib import Path

import numpy as np

from ktx.embeddings.cache import VOCABULARY, WEIGHTS, ModelRecord, write_record
from ktx.embeddings.tensors import write_half

WIDTH, HEADS, INNER, LAYERS, PLACES = 8, 2, 12, 2, 16
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "order",
    "##s",
    "##ed",
    "re",
    "##fund",
    "pay",
    "churn",
    "a",
    ".",
    "売",
    "_",
]


def weights(seed: int = 7) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)

    def some(*shape: int) -> np.ndarray:
        return (chance.standard_normal(shape) * 0.4).astype(np.float16)

    found = {
        "embeddings.word_embeddings.weight": some(len(PIECES), WIDTH),
        "embeddings.position_embeddings.weight": some(PLACES, WIDTH),
        "embeddings.token_type_embeddings.weight": some(2, WIDTH),
        "embeddings.LayerNorm.weight": some(WIDTH),
        "embeddings.LayerNorm.bias": some(WIDTH),
    }
    for at in range(LAYERS):
        for part, shape in {
            "attention.self.query": (WIDTH, WIDTH),
            "attention.self.key": (WIDTH, WIDTH),
            "attention.self.value": (WIDTH, WIDTH),
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (INNER, WIDTH),
            "output.dense": (WIDTH, INNER),
            "attention.output.LayerNorm": (WIDTH,),
            "output.LayerNorm": (WIDTH,),
        }.items():
            found[f"encoder.layer.{at}.{part}.weight"] = some(*shape)
            found[f"encoder.layer.{at}.{part}.bias"] = some(shape[0])
    return found


def install(folder: Path, *, seed: int = 7, model: str = "tiny") -> ModelRecord:
    """Put the tiny model where an installed one would be."""
    folder.mkdir(parents=True, exist_ok=True)
    write_half(folder / WEIGHTS, weights(seed))
    (folder / VOCABULARY).write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    record = ModelRecord(
        model=model, heads=HEADS, max_tokens=PLACES, epsilon=1e-12, sha256=f"{seed:064d}",
        size_bytes=(folder / WEIGHTS).stat().st_size, licence="ours", origin="tests",
    )  # fmt: skip
    write_record(folder, record)
    return record


def forward(tensors: dict[str, np.ndarray], numbers: list[int]) -> list[float]:
    """Compute the vector of one text, number by number."""
    of = {name: tensor.astype(float).tolist() for name, tensor in tensors.items()}
    state = [
        [
            of["embeddings.word_embeddings.weight"][number][i]
            + of["embeddings.position_embeddings.weight"][place][i]
            + of["embeddings.token_type_embeddings.weight"][0][i]
            for i in range(WIDTH)
        ]
        for place, number in enumerate(numbers)
    ]
    state = [_norm(row, of, "embeddings.LayerNorm") for row in state]
    for at in range(LAYERS):
        name = f"encoder.layer.{at}"
        query, key, value = (
            [_dense(row, of, f"{name}.attention.self.{part}") for row in state]
            for part in ("query", "key", "value")
        )
        seen = []
        for place in range(len(numbers)):
            joined: list[float] = []
            for head in range(HEADS):
                span = range(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
                scores = [
                    sum(query[place][i] * other[i] for i in span) / math.sqrt(len(span)) for other in key
                ]
                powers = [math.exp(score) for score in scores]
                joined += [
                    sum(power / sum(powers) * row[i] for power, row in zip(powers, value, strict=True))
                    for i in span
                ]
            seen.append(joined)
        seen = [_dense(row, of, f"{name}.attention.output.dense") for row in seen]
        seen = [
            _norm(_sum(a, b), of, f"{name}.attention.output.LayerNorm")
            for a, b in zip(seen, state, strict=True)
        ]
        wide = [[_gelu(x) for x in _dense(row, of, f"{name}.intermediate.dense")] for row in seen]
        far = [_dense(row, of, f"{name}.output.dense") for row in wide]
        state = [_norm(_sum(a, b), of, f"{name}.output.LayerNorm") for a, b in zip(far, seen, strict=True)]
    mean = [sum(row[i] for row in state) / len(state) for i in range(WIDTH)]
    length = math.sqrt(sum(x * x for x in mean))
    return [x / length for x in mean]


def _sum(a: list[float], b: list[float]) -> list[float]:
    return [x + y for x, y in zip(a, b, strict=True)]


def _gelu(x: float) -> float:
    return x / 2 * (1 + math.erf(x / math.sqrt(2)))


def _dense(row: list[float], of: dict, name: str) -> list[float]:
    return [
        sum(w * x for w, x in zip(line, row, strict=True)) + bias
        for line, bias in zip(of[f"{name}.weight"], of[f"{name}.bias"], strict=True)
    ]


def _norm(row: list[float], of: dict, name: str) -> list[float]:
    mean = sum(row) / len(row)
    spread = sum((x - mean) ** 2 for x in row) / len(row)
    return [
        (x - mean) / math.sqrt(spread + 1e-12) * weight + bias
        for x, weight, bias in zip(row, of[f"{name}.weight"], of[f"{name}.bias"], strict=True)
    ]
