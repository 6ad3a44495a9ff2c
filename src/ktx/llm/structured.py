"""Structured answers: how they are asked for, and how an answer becomes a checked value or a typed failure.

Why a reply ended is looked at before what it says: a cut or refused answer is not bad JSON, and no repair can help it.
"""

import json
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from pydantic import ValidationError

from ktx.errors import ModelError
from ktx.llm.backend import Capabilities, Reply, Request
from ktx.llm.messages import ToolSpec, text_of, tool_calls_of
from ktx.llm.schema import Answer, answer_schema

T = TypeVar("T", bound=Answer)

ANSWER_TOOL: Final = "answer"
_MAX_SHOWN_CHARS: Final = 60_000
_MAX_PROBLEMS: Final = 30


@dataclass(frozen=True, kw_only=True)
class Invalid:
    """An answer that does not fit its schema: the raw text, and what is wrong with it without its values."""

    raw: str
    problems: str
    request_id: str | None


def asking_for(
    request: Request, schema: type[Answer], capabilities: Capabilities, *, is_native: bool
) -> Request:
    """Ask for a structured answer: by native schema where there is one, by a forced tool otherwise.

    Raises:
        ModelError: the backend has neither.
    """
    shape = answer_schema(schema)
    if is_native and capabilities.has_native_schema:
        return replace(request, schema=shape)
    if not capabilities.has_forced_tool:
        raise ModelError(
            "The backend can give structured answers neither by schema nor by a tool.",
            hint="Choose another backend for this role in `llm.models`.",
            kind="unsupported",
        )
    tool = ToolSpec(name=ANSWER_TOOL, description="Give the answer in this form.", input_schema=shape)
    return replace(request, tools=(tool,), forced_tool=ANSWER_TOOL)


def ensure_finished(reply: Reply, model: str) -> None:
    """Check that a reply came to its own end.

    Raises:
        ModelError: refused, cut at the output limit, or out of context.
    """
    match reply.stop_reason:
        case "refusal":
            raise ModelError(
                f"`{model}` declines to answer.",
                hint="Look at what was asked, or name another model for this role.",
                kind="refused",
                request_id=reply.request_id,
            )
        case "max_tokens":
            raise ModelError(
                f"The answer of `{model}` is longer than the {reply.usage.output_tokens:,} tokens it was given.",
                hint="Ask about less at once.",
                kind="truncated",
                request_id=reply.request_id,
            )
        case "context_full":
            raise ModelError(
                f"The prompt and the answer do not fit into the context of `{model}`.",
                hint="Choose a model with a larger context, or ask about less at once.",
                kind="context_too_long",
                request_id=reply.request_id,
            )
        case "pause":
            raise ModelError(
                f"`{model}` paused instead of answering.", kind="garbled", request_id=reply.request_id
            )
        case "end" | "tools" | "stop_sequence":
            return


def read_answer(reply: Reply, schema: type[T]) -> T | Invalid:
    """Read and check a structured answer."""
    calls = [call for call in tool_calls_of(reply.parts) if call.name == ANSWER_TOOL]
    raw = calls[0].arguments if calls else _unfenced(text_of(reply.parts))
    return check_answer_text(raw, schema, reply.request_id)


def check_answer_text(raw: str, schema: type[T], request_id: str | None) -> T | Invalid:
    """Check the text of an answer against its schema."""
    try:
        return schema.model_validate_json(raw)
    except ValidationError as error:
        problems = [
            f"- {'.'.join(str(step) for step in problem['loc']) or 'the answer'}: {problem['msg']}"[:300]
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        return Invalid(raw=raw, problems="\n".join(problems[:_MAX_PROBLEMS]), request_id=request_id)
    except (ValueError, RecursionError):
        return Invalid(raw=raw, problems="- the answer: it cannot be read as JSON", request_id=request_id)


def repair_prompt(invalid: Invalid, schema: type[Answer]) -> str:
    """Ask for the same content in the right form."""
    return "\n\n".join(
        (
            "A program asked for JSON that fits a schema and got an answer that does not. Give the same content as JSON that fits.",
            "Add nothing that the answer does not say.",
            f"Schema:\n{json.dumps(answer_schema(schema), ensure_ascii=False)}",
            f"What is wrong:\n{invalid.problems}",
            f"The answer:\n{invalid.raw[:_MAX_SHOWN_CHARS]}",
        )
    )


def invalid_answer(invalid: Invalid, model: str, schema: type[Answer]) -> ModelError:
    """Give the failure of an answer that stayed invalid after its repair."""
    first = invalid.problems.splitlines()[0].removeprefix("- ") if invalid.problems else "unreadable"
    return ModelError(
        f"`{model}` gave no valid `{schema.__name__}`, also after a repair ({first}).",
        hint="Try again, or name a stronger model for this role in `llm.models`.",
        kind="invalid_answer",
        request_id=invalid.request_id,
    )


def _unfenced(text: str) -> str:
    bare = text.strip()
    if not bare.startswith("```") or not bare.endswith("```"):
        return bare
    return bare.removeprefix("```json").removeprefix("```").removesuffix("```").strip()
