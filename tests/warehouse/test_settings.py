"""What becomes of the keys of a connection: each reaches the vendor's client, and log-ins are tried on loopback."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ktx.errors import ConfigError, WarehouseError
from ktx.warehouse import connect
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.drivers.databricks import ServicePrincipal
from servers.shop import connection_of


def test_every_key_of_a_server_reaches_its_client(tmp_path: Path) -> None:
    clickhouse = connection_of(
        {
            "driver": "clickhouse",
            "host": "h",
            "user": "u",
            "password": "p",
            "ssl": True,
            "databases": ["a", "b"],
        }
    )
    assert connect._clickhouse_settings("w", clickhouse, tmp_path) == {
        "host": "h", "port": 8443, "secure": True, "username": "u", "password": "p", "database": "a",
        "send_receive_timeout": 40,
    }  # fmt: skip
    snowflake = connection_of(
        {
            "driver": "snowflake",
            "account": "a",
            "username": "u",
            "password": "p",
            "database": "d",
            "warehouse": "w",
            "role": "r",
        }
    )
    assert connect._snowflake_settings("w", snowflake, tmp_path) == {
        "account": "a", "user": "u", "password": "p", "database": "d", "warehouse": "w", "role": "r"
    }  # fmt: skip
    sqlserver = connection_of(
        {"driver": "sqlserver", "url": "mssql://u:p@h:1444/d", "trustServerCertificate": True}
    )
    assert connect._sqlserver_settings("w", sqlserver, tmp_path) == {
        "server": "h", "port": "1444", "user": "u", "password": "p", "database": "d"
    }  # fmt: skip
    databricks = connection_of(
        {"driver": "databricks", "host": "h", "http_path": "/p", "token": "t", "catalog": "main"}
    )
    assert connect._databricks_settings(databricks, "h", "t") == {
        "server_hostname": "h", "http_path": "/p", "access_token": "t", "catalog": "main"
    }  # fmt: skip


def test_trino_address_names_the_catalog_and_schema_and_a_password_needs_tls(tmp_path: Path) -> None:
    trino = connection_of({"driver": "trino", "url": "trino://u:p@h/hive/web"})
    address = connect._server_address("w", trino, tmp_path)
    assert connect._trino_settings("w", trino, address) == {
        "host": "h", "port": 443, "http_scheme": "https", "user": "u", "catalog": "hive", "schema": "web"
    }  # fmt: skip
    assert connect._schemas("w", trino, tmp_path) == ("web",)


def test_datasets_of_the_own_project_need_no_project_in_front(tmp_path: Path) -> None:
    bigquery = connection_of({"driver": "bigquery", "project": "p", "dataset_ids": ["p.shop", "other.web"]})
    assert connect._schemas("w", bigquery, tmp_path) == ("shop", "other.web")


def test_encrypted_private_key_is_opened_by_its_passphrase_and_by_no_other(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"right"),
    )
    (tmp_path / "key.p8").write_bytes(pem)
    settings = {
        "driver": "snowflake", "account": "a", "username": "u", "database": "d", "authMethod": "rsa",
        "privateKey": "file:key.p8",
    }  # fmt: skip
    open_warehouse("w", connection_of({**settings, "passphrase": "right"}), tmp_path).close()
    for wrong in ({"passphrase": "wrong"}, {}):
        with pytest.raises(ConfigError, match="passphrase") as caught:
            open_warehouse("w", connection_of({**settings, **wrong}), tmp_path)
        assert "BEGIN" not in caught.value.message


@contextmanager
def token_endpoint(status: int, body: bytes) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """A token endpoint on loopback, and what was sent to it."""
    seen: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            seen.append((self.path, self.headers["Authorization"], sent))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_service_principal_logs_in_once_and_again_before_its_token_ends() -> None:
    now = [0.0]
    with token_endpoint(200, b'{"access_token": "t-1", "expires_in": 3600, "token_type": "Bearer"}') as (
        url,
        seen,
    ):
        headers = ServicePrincipal("w", url, client_id="id", secret="pw", clock=lambda: now[0])
        assert headers() == {"Authorization": "Bearer t-1"}
        assert headers() == {"Authorization": "Bearer t-1"}
        assert len(seen) == 1
        now[0] = 3_590.0
        headers()
    assert len(seen) == 2
    path, login, sent = seen[0]
    assert (path, login) == ("/oidc/v1/token", "Basic " + base64.b64encode(b"id:pw").decode())
    assert sent == "grant_type=client_credentials&scope=all-apis"


@pytest.mark.parametrize(("status", "body"), [(401, b'{"error": "invalid_client"}'), (200, b"<html>")])
def test_service_principal_without_a_token_is_an_error_without_the_secret(status: int, body: bytes) -> None:
    with (
        token_endpoint(status, body) as (url, _),
        pytest.raises(WarehouseError, match="gets no token") as caught,
    ):
        ServicePrincipal("w", url, client_id="id", secret="pw-2718", clock=lambda: 0.0)()
    assert "pw-2718" not in caught.value.message
    assert "client_secret" in str(caught.value.hint)
