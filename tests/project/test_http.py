import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ktx.http import open_client
from ktx.version import __version__


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.headers["User-Agent"].encode()
        self.send_response(302 if self.path == "/away" else 200)
        self.send_header("Location", "http://127.0.0.1:9/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_client_says_who_it_is(address: str) -> None:
    with open_client(base_url=address) as client:
        assert client.get("/").text == f"ktx/{__version__}"


def test_a_redirect_is_not_followed(address: str) -> None:
    with open_client(base_url=address) as client:
        assert client.get("/away").status_code == 302
