"""The real `claude` program on a machine of its own."""

import pytest

from claude_host import make_host
from modelserver.server import ModelServer


@pytest.fixture(autouse=True)
def _needs_the_program():
    """Skip where the program is not installed."""
    pytest.importorskip("claude_agent_sdk", reason="needs `pip install 'ktx-context[claude-code]'`")


@pytest.fixture
def server():
    """A model server in the place of api.anthropic.com."""
    with ModelServer() as running:
        yield running


@pytest.fixture
def host(server, tmp_path):
    """A home folder with a login."""
    return make_host(tmp_path / "home", server)
