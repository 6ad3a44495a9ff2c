"""An embeddings API on loopback: OpenAI's wire, bags of words as vectors, and refusals on demand."""

import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SYNONYMS = {
    "churn": "cancel",
    "cancelled": "cancel",
    "cancellations": "cancel",
    "earnings": "revenue",
    "sales": "revenue",
}


@dataclass
class EmbeddingsServer:
    """What the server was asked, and what it is to refuse next: a status, and seconds to wait where it names them."""

    address: str = ""
    key: str | None = "secret-key"
    dimensions: int = 32
    batches: list[list[str]] = field(default_factory=list)
    refusals: list[tuple[int, str | None]] = field(default_factory=list)
    body: bytes | None = None


@contextmanager
def embeddings_server() -> Generator[EmbeddingsServer]:
    """Run the server while the block runs."""
    told = EmbeddingsServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/embeddings":
                return self.answer(404, b"{}")
            if told.key is not None and self.headers["Authorization"] != f"Bearer {told.key}":
                return self.answer(401, b'{"error": "bad key"}')
            if told.refusals:
                status, wait = told.refusals.pop(0)
                return self.answer(status, json.dumps({"error": given["input"]}).encode(), wait)
            told.batches.append(given["input"])
            data = [
                {"index": at, "embedding": vector(text, told.dimensions)}
                for at, text in reversed(list(enumerate(given["input"])))
            ]
            return self.answer(200, told.body or json.dumps({"data": data}).encode())

        def answer(self, status: int, body: bytes, wait: str | None = None) -> None:
            self.send_response(status)
            if wait is not None:
                self.send_header("Retry-After", wait)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    told.address = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def vector(text: str, dimensions: int) -> list[float]:
    """Give a bag of words with synonyms as one: not of length 1, as some servers answer."""
    found = [0.0] * dimensions
    for word in "".join(letter if letter.isalnum() else " " for letter in text.lower()).split():
        plain = SYNONYMS.get(word, word)
        found[hashlib.blake2b(plain.encode()).digest()[0] % dimensions] += 3.0
    return found if any(found) else [1.0, *found[1:]]
