"""OpenTelemetry spans by the GenAI conventions, for every backend alike, if the program around ktx has set up the SDK.

Nothing is imported unless the SDK already is, and no trace header is sent to a provider.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Protocol, cast

from ktx.llm.backend import Outcome, Reply


class Span(Protocol):
    """The part of a span that ktx uses."""

    def set_attribute(self, key: str, value: str | int | float) -> None:
        """Set one attribute."""
        ...


class _Tracer(Protocol):
    def start_as_current_span(self, name: str) -> "_SpanManager": ...


class _SpanManager(Protocol):
    def __enter__(self) -> Span: ...

    def __exit__(self, *_: object) -> bool | None: ...


class _Tracing(Protocol):
    def get_tracer(self, name: str) -> _Tracer: ...


@contextmanager
def span(operation: str, *, backend: str, model: str, role: str) -> Generator[Span | None, None, None]:
    """Open a span around one model call, or give None when nobody traces. Prompts and answers never go into it."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        yield None
        return
    tracing = cast("_Tracing", import_module("opentelemetry.trace"))
    with tracing.get_tracer("ktx").start_as_current_span(f"{operation} {model}") as opened:
        opened.set_attribute("gen_ai.operation.name", operation)
        opened.set_attribute("gen_ai.provider.name", backend)
        opened.set_attribute("gen_ai.request.model", model)
        opened.set_attribute("ktx.llm.role", role)
        yield opened


def note_answer(opened: Span | None, answer: Reply | Outcome) -> None:
    """Write the bill of an answer into its span."""
    if opened is None:
        return
    opened.set_attribute("gen_ai.response.model", answer.model)
    opened.set_attribute("gen_ai.usage.input_tokens", answer.usage.input_tokens)
    opened.set_attribute("gen_ai.usage.output_tokens", answer.usage.output_tokens)
    opened.set_attribute("gen_ai.usage.cache_read.input_tokens", answer.usage.cache_read_tokens)
    opened.set_attribute("gen_ai.usage.cache_creation.input_tokens", answer.usage.cache_write_tokens)
    if answer.request_id is not None:
        opened.set_attribute("gen_ai.response.id", answer.request_id)


def note_failure(opened: Span | None, kind: str) -> None:
    """Write a failure's kind into the span."""
    if opened is not None:
        opened.set_attribute("error.type", kind)
