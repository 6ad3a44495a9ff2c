"""Runs every test of this folder once per backend."""

import pytest

from llmrig.rigs import RIGS


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=sorted(RIGS))
def rig(request, tmp_path, monkeypatch):
    with RIGS[request.param](tmp_path, monkeypatch.setenv) as running:
        yield running


@pytest.fixture(autouse=True)
def _needs(request):
    """Skip what a backend says it cannot do, with its reason."""
    for mark in request.node.iter_markers("needs"):
        running = request.getfixturevalue("rig")
        if mark.args[0] in running.cannot:
            pytest.skip(running.cannot[mark.args[0]])
