"""An embeddings server: batches, refusals, answers that are none."""

from collections.abc import Iterator

import numpy as np
import pytest

from ktx.embeddings.embedder import Patience
from ktx.embeddings.openai import OpenaiEmbedder
from ktx.errors import ConfigError, KtxError, OutsideError
from tinymodel.server import EmbeddingsServer, embeddings_server


@pytest.fixture
def server() -> Iterator[EmbeddingsServer]:
    with embeddings_server() as told:
        yield told


def embedder(server: EmbeddingsServer, waits: list[float] | None = None, **kwargs: object) -> OpenaiEmbedder:
    given = {"api_key": "secret-key", "batch_size": 2, **kwargs}
    return OpenaiEmbedder(
        address=server.address, name="m", sleep=(waits if waits is not None else []).append, **given
    )


def test_texts_go_in_batches_and_come_back_in_order_and_of_length_one(server: EmbeddingsServer) -> None:
    texts = ["churn", "revenue", "a b", "revenue", "c"]
    found = embedder(server).embed(texts)
    assert server.batches == [texts[:2], texts[2:4], texts[4:]]
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert np.allclose(found[1], found[3])
    assert not np.allclose(found[0], found[1])


def test_dimensions_are_measured_once(server: EmbeddingsServer) -> None:
    asked = embedder(server)
    assert (asked.measure_dimensions(), asked.measure_dimensions()) == (32, 32)
    assert len(server.batches) == 1


def test_a_server_that_asks_to_wait_is_waited_for(server: EmbeddingsServer) -> None:
    server.refusals = [(429, "7"), (503, None)]
    waits: list[float] = []
    embedder(server, waits).embed(["a"])
    assert waits == [7.0, 2.0]


def test_patience_ends(server: EmbeddingsServer) -> None:
    server.refusals = [(429, "1")] * 9
    waits: list[float] = []
    with pytest.raises(OutsideError, match="429"):
        embedder(server, waits, patience=Patience(retries_s=3)).embed(["a"])
    assert sum(waits) <= 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_a_refusal_shows_neither_key_nor_text(server: EmbeddingsServer, status: int) -> None:
    server.refusals = [(status, None)] * 9
    with pytest.raises(KtxError) as caught:
        embedder(server, patience=Patience(retries_s=0)).embed(["the text of a page"])
    shown = f"{caught.value} {caught.value.hint}"
    assert str(status) in shown
    assert "secret-key" not in shown
    assert "page" not in shown
    assert "secret-key" not in repr(embedder(server))


def test_a_wrong_key_is_a_matter_of_configuration(server: EmbeddingsServer) -> None:
    with pytest.raises(ConfigError, match="key"):
        embedder(server, api_key="other").embed(["a"])


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 5, "embedding": [1.0]}]}',
        b'{"data": [{"index": 0, "embedding": [NaN]}]}',
    ],
)
def test_an_answer_without_the_right_vectors_is_refused(server: EmbeddingsServer, body: bytes) -> None:
    server.body = body
    with pytest.raises(OutsideError):
        embedder(server).embed(["a"])


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(OutsideError, match=r"127\.0\.0\.1:9"):
        OpenaiEmbedder(address="http://127.0.0.1:9/v1", name="m").embed(["a"])
