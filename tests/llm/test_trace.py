"""Spans are written when the program around ktx traces, and hold figures and names only."""

import sys
from types import ModuleType

import anyio
import pytest

import ktx.llm.backends.anthropic  # noqa: F401 - the SDK imports tracing on its own, before the test stands in for it
from llmrig.rigs import RIGS
from modelserver import replies


class Tracing(ModuleType):
    """What `opentelemetry.trace` offers, keeping what it is told."""

    def __init__(self):
        super().__init__("opentelemetry.trace")
        self.spans = []

    def get_tracer(self, name):
        return self

    def start_as_current_span(self, name):
        self.spans.append({"name": name})
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def set_attribute(self, key, value):
        self.spans[-1][key] = value


@pytest.mark.parametrize("is_set_up", [True, False])
def test_a_call_is_a_span_only_where_somebody_traces(is_set_up, tmp_path, monkeypatch):
    tracing = Tracing()
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", tracing)
    if is_set_up:
        monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", ModuleType("opentelemetry.sdk.trace"))
    else:
        monkeypatch.delitem(sys.modules, "opentelemetry.sdk.trace", raising=False)
    with RIGS["anthropic"](tmp_path, monkeypatch.setenv) as rig:
        rig.server.default = replies.text("an answer nobody traces")

        async def main():
            async with rig.runtime() as runtime:
                await runtime.text("triage", "a prompt nobody traces")

        anyio.run(main)
        assert "traceparent" not in rig.server.requests[0].headers
        billed = rig.billed()
    if not is_set_up:
        assert tracing.spans == []
        return
    (span,) = tracing.spans
    assert span["name"] == "chat claude-sonnet-5-5"
    assert span["gen_ai.provider.name"] == "anthropic"
    assert span["gen_ai.usage.input_tokens"] == billed.input_tokens
    assert span["gen_ai.usage.output_tokens"] == billed.output_tokens
    assert "nobody traces" not in str(span)
