"""What ktx asks of a model, by role: a text, a structured value, or a loop with tools. The same on every backend.

Callers know roles, tools and schemas. Which backend answers, what it can do and what it costs is settled here.
"""

import copy
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self, TypeVar

from ktx.errors import ConfigError, ModelError
from ktx.events import Emit, Notice
from ktx.llm.backend import Backend, Effort, Outcome, Probe, Reply, Request, runs_own_loop
from ktx.llm.caching import CacheSettings, plan_marks
from ktx.llm.loop import Conversation, run_loop
from ktx.llm.memory import ReplyMemory
from ktx.llm.messages import Message, Opaque, Text, ToolSpec, text_of
from ktx.llm.models import ROLES, BackendName, Role
from ktx.llm.roles import Choice, RolePlan
from ktx.llm.schema import Answer
from ktx.llm.sending import Job, Sender
from ktx.llm.structured import (
    Invalid,
    asking_for,
    ensure_finished,
    invalid_answer,
    read_answer,
    repair_prompt,
)
from ktx.llm.tools import AnyTool, Toolbox

T = TypeVar("T", bound=Answer)
Given = TypeVar("Given")

DEFAULT_MAX_OUTPUT_TOKENS: Final = 8192
_LOOP_MAX_OUTPUT_TOKENS: Final = 16_384
_SWITCH: Final = frozenset(
    {
        "missing_extra",
        "not_configured",
        "not_logged_in",
        "unauthorized",
        "forbidden",
        "billing",
        "unknown_model",
        "context_too_long",
        "unsupported",
        "rate_limited",
        "overloaded",
        "server_error",
        "connection",
        "garbled",
        "leaked",
    }
)


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What to say: `system` never changes between calls of a kind, `context` is shared by some, `text` is this call's own."""

    text: str
    system: tuple[str, ...] = ()
    context: str | None = None

    def opening(self) -> Message:
        """Give the first message of the conversation."""
        parts = (*([Text(text=self.context)] if self.context else []), Text(text=self.text))
        return Message(author="user", parts=parts)


class Runtime:
    """The one way to a model. Open it with `ktx.llm.connect.open_runtime`, use it as an async context manager."""

    def __init__(
        self,
        *,
        roles: RolePlan,
        open_backend: Callable[[BackendName], Backend],
        sender: Sender,
        caching: Mapping[BackendName, CacheSettings],
        emit: Emit,
        on_close: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.roles = roles
        self._open_backend = open_backend
        self._sender = sender
        self._caching = caching
        self._emit = emit
        self._on_close = on_close
        self._clock = clock
        self._backends: dict[BackendName, Backend] = {}
        self._without_native: set[Choice] = set()
        self._switched: set[tuple[Choice, Choice]] = set()

    async def __aenter__(self) -> Self:
        """Give the runtime itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every backend."""
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of every backend's sockets and processes, and of the ledger."""
        backends, self._backends = list(self._backends.values()), {}
        try:
            for backend in backends:
                await backend.aclose()
        finally:
            self._on_close()

    async def text(
        self,
        role: Role,
        prompt: Prompt | str,
        *,
        task: str = "",
        max_output_tokens: int = DEFAULT_MAX_OUTPUT_TOKENS,
        effort: Effort | None = None,
    ) -> str:
        """Give a model's answer in words. `task` names the work in the ledger.

        Raises:
            ModelError: every model of the role failed; the error is the last one's.
        """
        said = _as_prompt(prompt)

        async def ask(choice: Choice, backend: Backend) -> str:
            request = self._request(choice, backend, said, max_output_tokens=max_output_tokens, effort=effort)
            reply = await self._sender.send(backend, request, Job(role=role, task=task))
            ensure_finished(reply, choice.model)
            return text_of(reply.parts)

        return await self._by_role(role, ask)

    async def extract(
        self,
        role: Role,
        prompt: Prompt | str,
        *,
        schema: type[T],
        task: str = "",
        max_output_tokens: int = DEFAULT_MAX_OUTPUT_TOKENS,
        effort: Effort | None = None,
        memory: ReplyMemory | None = None,
    ) -> T:
        """Give a checked value. An invalid answer is repaired once, with the role `repair`.

        `memory` gives back answers that an earlier run has paid for.

        Raises:
            ModelError: no model of the role gave a valid answer; its `request_id` is the provider's.
            ValueError: `schema` has a part that some backend would bend (see `ktx.llm.schema`).
        """
        said = _as_prompt(prompt)

        async def ask(choice: Choice, backend: Backend) -> T:
            request = self._request(choice, backend, said, max_output_tokens=max_output_tokens, effort=effort)
            job = Job(role=role, task=task, memory=memory)
            reply = await self._structured(choice, backend, request, schema, job)
            answer = read_answer(reply, schema)
            if not isinstance(answer, Invalid):
                return answer
            return await self._repaired(answer, choice, schema, replace(job, role="repair"))

        return await self._by_role(role, ask)

    async def loop(
        self,
        role: Role,
        prompt: Prompt | str,
        *,
        tools: Sequence[AnyTool],
        step_budget: int,
        task: str = "",
        max_output_tokens: int = _LOOP_MAX_OUTPUT_TOKENS,
        effort: Effort | None = None,
        memory: ReplyMemory | None = None,
    ) -> Outcome:
        """Let a model work with tools until it is done or has made `step_budget` requests.

        Arguments that do not fit are repaired once, with the role `repair`, before the model is told. `memory` gives back
        answers that an earlier run has paid for, step by step, where the backend leaves the loop to ktx; the tools run again.

        Raises:
            ModelError: the loop could not go on with any model of the role. Tools may have run before that.
        """
        if step_budget < 1:
            raise ValueError("a loop needs a step budget of at least one")
        said = _as_prompt(prompt)
        toolbox = Toolbox(
            tools, step_budget=step_budget, repair=self._repair_arguments(task), clock=self._clock
        )
        conversation = Conversation(messages=[said.opening()])
        job = Job(role=role, task=task, memory=memory)

        is_kept_elsewhere: set[Choice] = set()

        async def go_on(choice: Choice, backend: Backend) -> Outcome:
            toolbox.bound_output(backend.capabilities.max_tool_output_chars)
            request = self._request(
                choice,
                backend,
                said,
                tools=toolbox.specs(),
                max_output_tokens=max_output_tokens,
                effort=effort,
            )
            if runs_own_loop(backend):
                _ensure_fresh(toolbox, choice)
                is_kept_elsewhere.add(choice)
                with self._sender.loop(backend, request, job) as watch:
                    watch.outcome = await backend.run_loop(request, toolbox, watch=watch)
                    return watch.outcome
            settings = self._caching[choice.backend]

            async def ask(messages: tuple[Message, ...]) -> Reply:
                plan = plan_marks(
                    settings,
                    has_tools=bool(request.tools),
                    has_system=bool(request.system),
                    messages=messages,
                    is_loop=True,
                )
                return await self._sender.send(
                    backend, replace(request, messages=messages, cache_plan=plan), job
                )

            return await run_loop(conversation, toolbox, ask, clock=self._clock)

        def forget() -> None:
            """Signed thinking of one model means nothing to another."""
            conversation.messages[:] = [_without_opaque(message) for message in conversation.messages]

        def may_switch() -> bool:
            """A conversation that a backend keeps to itself cannot be handed on, so after its tools ran there is no second start."""
            return not (is_kept_elsewhere and toolbox.calls)

        return await self._by_role(role, go_on, before_switch=forget, may_switch=may_switch)

    def pinned(self, choice: Choice) -> "Runtime":
        """Give the same runtime with one model for every role and no fallback; it shares everything and needs no closing."""
        pinned = copy.copy(self)
        pinned.roles = RolePlan(chains=dict.fromkeys(ROLES, (choice,)), own=frozenset(ROLES))
        return pinned

    async def probe(self, choice: Choice) -> Probe:
        """Check credential and model with the smallest live request.

        Raises:
            ModelError: what is missing.
        """
        return await self._sender.probe(
            self.backend(choice.backend), choice.model, Job(role="default", task="check")
        )

    def backend(self, name: BackendName) -> Backend:
        """Give an opened backend.

        Raises:
            ModelError: its package is not installed, or it has no credential.
        """
        if name not in self._backends:
            self._backends[name] = self._open_backend(name)
        return self._backends[name]

    def _request(
        self,
        choice: Choice,
        backend: Backend,
        prompt: Prompt,
        *,
        max_output_tokens: int,
        effort: Effort | None,
        tools: tuple[ToolSpec, ...] = (),
    ) -> Request:
        """Write a request with what this backend can take; the rest is left out."""
        settings = self._caching[choice.backend]
        messages = (prompt.opening(),)
        request = Request(
            model=choice.model,
            system=prompt.system,
            tools=tools,
            messages=messages,
            max_output_tokens=max_output_tokens,
            effort=effort if backend.capabilities.has_effort else None,
            caching=settings,
        )
        if not backend.capabilities.has_cache_breakpoints:
            return request
        plan = plan_marks(settings, has_tools=bool(tools), has_system=bool(prompt.system), messages=messages)
        return replace(request, cache_plan=plan)

    async def _structured(
        self, choice: Choice, backend: Backend, request: Request, schema: type[Answer], job: Job
    ) -> Reply:
        is_native = choice not in self._without_native
        asked = asking_for(request, schema, backend.capabilities, is_native=is_native)
        try:
            reply = await self._sender.send(backend, asked, job)
        except ModelError as error:
            can_force = (
                is_native and backend.capabilities.has_native_schema and backend.capabilities.has_forced_tool
            )
            if error.kind not in ("unsupported", "bad_request") or not can_force:
                raise
            asked = asking_for(request, schema, backend.capabilities, is_native=False)
            reply = await self._sender.send(backend, asked, job)
            self._without_native.add(choice)
        ensure_finished(reply, choice.model)
        return reply

    async def _repaired(self, invalid: Invalid, first: Choice, schema: type[T], job: Job) -> T:
        prompt = Prompt(text=repair_prompt(invalid, schema))

        async def ask(choice: Choice, backend: Backend) -> T:
            request = self._request(
                choice, backend, prompt, max_output_tokens=_LOOP_MAX_OUTPUT_TOKENS, effort=None
            )
            reply = await self._structured(choice, backend, request, schema, job)
            answer = read_answer(reply, schema)
            if isinstance(answer, Invalid):
                raise invalid_answer(answer, first.model, schema)
            return answer

        return await self._by_role("repair", ask)

    def _repair_arguments(self, task: str) -> Callable[[ToolSpec, str, str], Awaitable[str | None]]:
        async def repair(tool: ToolSpec, raw_arguments: str, complaint: str) -> str | None:
            prompt = (
                "A model called a tool with arguments that do not fit. Answer with the corrected arguments as one JSON object "
                "and nothing else. Keep every value that is usable; if the intent cannot be known, answer with the word: unclear.\n\n"
                f"Tool `{tool.name}`: {tool.description}\n\nInput schema: {dict(tool.input_schema)}\n\n"
                f"What is wrong: {complaint}\n\nThe arguments:\n{raw_arguments[:20_000]}"
            )
            better = (await self.text("repair", prompt, task=task, max_output_tokens=4096)).strip()
            start, end = better.find("{"), better.rfind("}")
            return better[start : end + 1] if 0 <= start < end else None

        return repair

    async def _by_role(
        self,
        role: Role,
        ask: Callable[[Choice, Backend], Awaitable[Given]],
        *,
        before_switch: Callable[[], None] = lambda: None,
        may_switch: Callable[[], bool] = lambda: True,
    ) -> Given:
        """Try the models of a role in order, and say so when the next one takes over."""
        chain = self.roles.chain(role)
        for choice, following in zip(chain, (*chain[1:], None), strict=True):
            try:
                return await ask(choice, self.backend(choice.backend))
            except (ModelError, ConfigError) as error:
                kind = error.kind if isinstance(error, ModelError) else "not_configured"
                if following is None or kind not in _SWITCH or not may_switch():
                    raise
                self._report_switch(role, choice, following, kind)
                before_switch()
        raise ConfigError(f"No model is configured for the role `{role}`.")

    def _report_switch(self, role: Role, failed: Choice, following: Choice, kind: str) -> None:
        if (failed, following) not in self._switched:
            self._switched.add((failed, following))
            words = kind.replace("_", " ")
            self._emit(
                Notice(message=f"`{role}`: {failed} cannot be used ({words}); going on with {following}.")
            )


def _ensure_fresh(toolbox: Toolbox, choice: Choice) -> None:
    if toolbox.steps:
        raise ModelError(
            f"A loop under way cannot be handed to {choice}, which keeps its own conversation.",
            hint="Put API backends after each other in `llm.models`, or run again.",
            kind="unsupported",
        )


def _as_prompt(prompt: Prompt | str) -> Prompt:
    return Prompt(text=prompt) if isinstance(prompt, str) else prompt


def _without_opaque(message: Message) -> Message:
    kept = tuple(part for part in message.parts if not isinstance(part, Opaque))
    return replace(message, parts=kept or (Text(text="(thinking)"),))
