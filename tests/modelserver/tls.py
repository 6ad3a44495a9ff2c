"""A certificate authority for the tunnel, and the files that real programs need to believe in it."""

import functools
import json
import ssl
from pathlib import Path

import trustme


class Authority:
    """Certificates for any host, signed by a root that only the test's client trusts."""

    def __init__(self) -> None:
        self._root = trustme.CA()

    @functools.cached_property
    def root_pem(self) -> bytes:
        """The root certificate."""
        return self._root.cert_pem.bytes()

    def write_root(self, path: Path) -> Path:
        """Write the root certificate to a file, for `NODE_EXTRA_CA_CERTS` and its like."""
        path.write_bytes(self.root_pem)
        return path

    @functools.cache  # noqa: B019 - lives as long as the server
    def server_context(self, host: str) -> ssl.SSLContext:
        """Give the TLS settings to answer in the place of a host."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        self._root.issue_cert(host).configure_cert(context)
        return context


def write_service_account(path: Path, *, project: str, token_url: str) -> Path:
    """Write a Google service-account file whose tokens come from `token_url`."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": "test",
        "private_key": key.decode(),
        "client_email": f"ktx@{project}.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_url,
    }
    path.write_text(json.dumps(account))
    return path
