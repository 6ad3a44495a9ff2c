"""The real `claude` program on a machine of its own."""

import pytest

from claude_host import make_host
from modelserver.server import ModelServer


@pytest.fixture
def server():
    """A model server in the place of api.anthropic.com."""
    with ModelServer() as running:
        yield running


@pytest.fixture
def host(server, tmp_path):
    """A home folder with a login."""
    return make_host(tmp_path / "home", server)
