"""Tools as values, and the one door through which any model reaches them.

The door checks names and arguments, bounds what comes back, counts, enforces the step budget and never raises: a failed call
is text that the model can act on. It knows nothing of backends, so every backend offers the same tools with the same rules.
"""

import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar, cast

import anyio
import anyio.to_thread
from pydantic import BaseModel, ValidationError

from ktx.errors import KtxError
from ktx.llm.messages import ToolCall, ToolResult, ToolSpec
from ktx.llm.schema import tool_schema
from ktx.suggest import did_you_mean

Input = TypeVar("Input", bound=BaseModel)
Output: TypeAlias = str | BaseModel
Repair: TypeAlias = Callable[[ToolSpec, str, str], Awaitable[str | None]]
"""Given a tool, its raw arguments and what is wrong with them: better arguments, or None."""

_log = logging.getLogger(__name__)
_MAX_OUTPUT_CHARS = 40_000
_MAX_ARGUMENT_CHARS = 1_000_000
_MAX_ERROR_CHARS = 4_000


@dataclass(frozen=True, kw_only=True)
class Tool(Generic[Input]):
    """A typed function that a model may call.

    `run` gets the validated input. A plain function runs in a worker thread, so it may block; a coroutine function runs in
    place. A `KtxError` it raises is told to the model with its hint; any other exception is logged and told by its kind only.
    """

    name: str
    description: str
    input: type[Input]
    run: Callable[[Input], Output | Awaitable[Output]]
    is_read_only: bool = False

    def spec(self) -> ToolSpec:
        """Give the tool as a model sees it."""
        return ToolSpec(
            name=self.name,
            description=self.description,
            input_schema=tool_schema(self.input),
            is_read_only=self.is_read_only,
        )

    async def answer(self, arguments: BaseModel) -> Output:
        """Run the function on validated input."""
        checked = cast("Input", arguments)
        if inspect.iscoroutinefunction(self.run):
            return await cast("Awaitable[Output]", self.run(checked))
        given = await anyio.to_thread.run_sync(partial(self.run, checked), abandon_on_cancel=True)
        return await given if inspect.isawaitable(given) else given


AnyTool: TypeAlias = Tool[Any]


@dataclass(frozen=True, kw_only=True)
class ToolAnswer:
    """What a model is told."""

    text: str
    is_error: bool = False


class Toolbox:
    """The tools of one run, behind one door. Use one for one loop, from one event loop."""

    def __init__(
        self,
        tools: Sequence[AnyTool],
        *,
        step_budget: int,
        max_output_chars: int = _MAX_OUTPUT_CHARS,
        repair: Repair | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        ordered = sorted(tools, key=lambda tool: tool.name)
        self._by_name: dict[str, AnyTool] = {tool.name: tool for tool in ordered}
        if len(self._by_name) != len(ordered):
            raise ValueError("two tools of one run share a name")
        self._specs = tuple(tool.spec() for tool in ordered)
        self._repair = repair
        self._clock = clock
        self._writing = anyio.Lock()
        self._max_output_chars = max_output_chars
        self.step_budget = step_budget
        self.steps = 0
        self.calls = 0
        self.errors = 0
        self.tools_s = 0.0
        """Wall time during which at least one tool was running."""
        self._running = 0
        self._busy_since = 0.0

    def specs(self) -> tuple[ToolSpec, ...]:
        """Give the tools as a model sees them, sorted by name so that a prompt cache sees the same bytes every time."""
        return self._specs

    def bound_output(self, max_chars: int) -> None:
        """Cut answers at what the backend at work can carry, if that is less."""
        self._max_output_chars = min(self._max_output_chars, max_chars)

    def begin_step(self) -> int:
        """Count one model request and give its number; past the budget every call is refused."""
        self.steps += 1
        return self.steps

    async def call(self, name: str, raw_arguments: str) -> ToolAnswer:
        """Answer one call of a model. Never raises, except when cancelled."""
        self.calls += 1
        if self._running == 0:
            self._busy_since = self._clock()
        self._running += 1
        try:
            answer = await self._answer(name, raw_arguments)
        finally:
            self._running -= 1
            if self._running == 0:
                self.tools_s += self._clock() - self._busy_since
        self.errors += answer.is_error
        return ToolAnswer(text=_bounded(answer.text, self._max_output_chars), is_error=answer.is_error)

    async def call_all(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """Answer the calls of one reply, in their order. Neighbouring read-only calls run at the same time."""
        answers: dict[int, ToolAnswer] = {}

        async def one(position: int, call: ToolCall) -> None:
            answers[position] = await self.call(call.name, call.arguments)

        for group in self._groups(calls):
            async with anyio.create_task_group() as tasks:
                for position in group:
                    tasks.start_soon(one, position, calls[position])
        return tuple(
            ToolResult(call_id=call.call_id, text=answers[position].text, is_error=answers[position].is_error)
            for position, call in enumerate(calls)
        )

    def _groups(self, calls: Sequence[ToolCall]) -> list[list[int]]:
        groups: list[list[int]] = []
        is_open = False
        for position, call in enumerate(calls):
            tool = self._by_name.get(call.name)
            is_parallel = tool is None or tool.is_read_only
            if is_parallel and is_open:
                groups[-1].append(position)
            else:
                groups.append([position])
            is_open = is_parallel
        return groups

    async def _answer(self, name: str, raw_arguments: str) -> ToolAnswer:
        if self.steps > self.step_budget:
            return _refusal(
                "The step budget of this run is spent. Stop calling tools and give the final answer."
            )
        tool = self._by_name.get(name)
        if tool is None:
            known = ", ".join(f"`{known}`" for known in self._by_name) or "none"
            return _refusal(
                f"There is no tool `{name[:100]}`.{did_you_mean(name[:100], self._by_name)} Tools: {known}."
            )
        if len(raw_arguments) > _MAX_ARGUMENT_CHARS:
            return _refusal(f"The arguments of `{name}` are longer than {_MAX_ARGUMENT_CHARS} characters.")
        arguments = await self._checked(tool, raw_arguments)
        if isinstance(arguments, ToolAnswer):
            return arguments
        if tool.is_read_only:
            return await _run(tool, arguments)
        async with self._writing:
            return await _run(tool, arguments)

    async def _checked(self, tool: AnyTool, raw_arguments: str) -> BaseModel | ToolAnswer:
        first = _parse(tool, raw_arguments)
        if isinstance(first, BaseModel) or self._repair is None:
            return first
        try:
            better = await self._repair(tool.spec(), raw_arguments, first.text)
        except KtxError as error:
            _log.info("arguments of tool %s could not be repaired: %s", tool.name, type(error).__name__)
            return first
        if better is None:
            return first
        second = _parse(tool, better)
        return second if isinstance(second, BaseModel) else first


async def _run(tool: AnyTool, arguments: BaseModel) -> ToolAnswer:
    try:
        output = await tool.answer(arguments)
    except KtxError as error:
        return _refusal(f"{error.message} {error.hint}" if error.hint else error.message)
    except Exception as error:  # noqa: BLE001 - a tool's bug must not end the run that paid for this loop
        _log.exception("tool %s failed", tool.name)
        return _refusal(
            f"`{tool.name}` failed inside ktx ({type(error).__name__}). Try other arguments or go on without it."
        )
    return ToolAnswer(text=output if isinstance(output, str) else output.model_dump_json(exclude_none=True))


def _parse(tool: AnyTool, raw_arguments: str) -> BaseModel | ToolAnswer:
    try:
        return tool.input.model_validate_json(raw_arguments.strip() or "{}")
    except ValidationError as error:
        return _refusal(_complaint(tool, error))
    except (ValueError, RecursionError):
        return _refusal(f"The arguments of `{tool.name}` are not JSON that can be read.")


def _complaint(tool: AnyTool, error: ValidationError) -> str:
    lines = [f"The arguments of `{tool.name}` do not fit its input:"]
    for problem in error.errors(include_url=False, include_context=False, include_input=False)[:20]:
        where = ".".join(str(step) for step in problem["loc"]) or "arguments"
        lines.append(f"- {where[:200]}: {problem['msg'][:300]}")
    fields = ", ".join(f"`{name}`" for name in tool.input.model_fields) or "none"
    lines.append(f"Known fields: {fields}. Call the tool again with a JSON object that fits.")
    return _bounded("\n".join(lines), _MAX_ERROR_CHARS)


def _refusal(text: str) -> ToolAnswer:
    return ToolAnswer(text=text, is_error=True)


def _bounded(text: str, max_chars: int) -> str:
    """Cut the middle out of a long text, saying so; lone surrogates, which no JSON body can carry, are replaced."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) <= max_chars:
        return text
    note = f"\n… {len(text) - max_chars} characters left out; ask for less …\n"
    half = max(0, (max_chars - len(note)) // 2)
    return text[:half] + note + text[len(text) - half :]


def as_arguments(value: object) -> str:
    """Give arguments that a protocol already decoded back as the raw JSON text the door takes."""
    return json.dumps(value, ensure_ascii=False)
