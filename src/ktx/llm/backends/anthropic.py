"""The Messages API, reached through Anthropic, Vertex AI or a gateway: one wire, three clients.

The SDK sends and decodes; it neither retries nor reads the environment. Answers are always streamed, so that a long one never
meets a time limit and a cancelled one stops at the provider.
"""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, cast

import anthropic
import anyio
import anyio.to_thread
import httpx2
from anthropic import AsyncAnthropic, AsyncStream
from anthropic.lib.vertex import AsyncAnthropicVertex

from ktx.errors import ConfigError, ModelError
from ktx.events import Emit, Notice
from ktx.llm.backend import BilledError, Capabilities, Probe, Reply, Request
from ktx.llm.caching import shorten
from ktx.llm.failures import Refusal, as_error, read_limits, retry_after_s
from ktx.llm.messages import user
from ktx.llm.wire import GarbledError, Listener, capabilities, request_body

_TIMEOUT: Final = httpx2.Timeout(600.0, connect=10.0)
_PROBE_TOKENS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How a Messages endpoint is reached: the client, its name in `ktx.yaml`, and what to do about a refused credential."""

    name: str
    client: AsyncAnthropic | AsyncAnthropicVertex
    login_hint: str
    refuses_1h: bool = False
    """Whether a refused hour is asked again as five minutes (`vertexFallbackTo5m`)."""


def reach_anthropic(*, api_key: str, base_url: str, ignored_headers: tuple[str, ...] = ()) -> Reach:
    """Reach Anthropic's own API. `ignored_headers` names headers that the environment would add."""
    client = AsyncAnthropic(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        timeout=_TIMEOUT,
        default_headers=_own_headers(ignored_headers, {"Authorization": f"Bearer {api_key}"}),
        open_telemetry=False,
    )
    hint = "Check `llm.provider.anthropic.api_key`, or the variable `ANTHROPIC_API_KEY`."
    return Reach(name="anthropic", client=client, login_hint=hint)


def reach_gateway(
    *, api_key: str, base_url: str, version: str, auth: str, ignored_headers: tuple[str, ...] = ()
) -> Reach:
    """Reach an Anthropic-compatible gateway. Gateways differ in which header they read, so `auth` is `both`, `bearer` or `x-api-key`."""
    own: dict[str, object] = {"anthropic-version": version}
    own["x-api-key"] = anthropic.Omit() if auth == "bearer" else api_key
    own["Authorization"] = anthropic.Omit() if auth == "x-api-key" else f"Bearer {api_key}"
    client = AsyncAnthropic(
        auth_token=api_key,
        base_url=base_url,
        max_retries=0,
        timeout=_TIMEOUT,
        default_headers=_own_headers(ignored_headers, own),
        open_telemetry=False,
    )
    return Reach(name="gateway", client=client, login_hint="Check `llm.provider.gateway.api_key`.")


def reach_vertex(
    *,
    project: str | None,
    location: str,
    base_url: str | None = None,
    access_token: str | None = None,
    fallback_to_5m: bool = True,
    ignored_headers: tuple[str, ...] = (),
) -> "VertexReach":
    """Prepare to reach Vertex AI; credentials are looked up at the first call, because that can take seconds."""
    return VertexReach(
        project=project,
        location=location,
        base_url=base_url,
        access_token=access_token,
        fallback_to_5m=fallback_to_5m,
        ignored_headers=ignored_headers,
    )


@dataclass(frozen=True, kw_only=True)
class VertexReach:
    """How Vertex AI will be reached."""

    project: str | None
    location: str
    base_url: str | None
    access_token: str | None
    fallback_to_5m: bool
    ignored_headers: tuple[str, ...]

    async def open(self) -> Reach:
        """Find credentials and project, in a thread.

        Raises:
            ModelError: no credentials, or none that name a project.
        """
        credentials: object | None = None
        project = self.project
        if self.access_token is None:
            credentials, found = await _default_credentials()
            project = project or found
        if not project:
            raise ModelError(
                "Vertex AI needs a project, and the Google credentials name none.",
                hint="Set `llm.provider.vertex.project`, or run `gcloud auth application-default set-quota-project PROJECT`.",
                kind="not_logged_in",
            )
        client = AsyncAnthropicVertex(
            region=self.location,
            project_id=project,
            access_token=self.access_token,
            credentials=cast("Any", credentials),
            base_url=self.base_url or _vertex_address(self.location),
            max_retries=0,
            timeout=_TIMEOUT,
            default_headers=_own_headers(self.ignored_headers, {}),
            open_telemetry=False,
        )
        hint = "Run `gcloud auth application-default login`, or point GOOGLE_APPLICATION_CREDENTIALS at a key file."
        return Reach(name="vertex", client=client, login_hint=hint, refuses_1h=self.fallback_to_5m)


_ADC_TIMEOUT_S: Final = 20.0


async def _default_credentials() -> tuple[object, str | None]:
    try:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
    except ImportError as error:
        raise ModelError(
            "The `vertex` backend needs Google's auth package.",
            hint="Install it: pip install 'ktx-context[vertex]'",
            kind="missing_extra",
        ) from error

    def look() -> tuple[object, str | None]:
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        return cast("tuple[object, str | None]", cast("Any", google.auth).default(scopes=scopes))

    try:
        with anyio.fail_after(_ADC_TIMEOUT_S):
            return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)
    except TimeoutError as error:
        raise _no_google_login(f"no answer within {_ADC_TIMEOUT_S:.0f} s") from error
    except (GoogleAuthError, OSError, ValueError) as error:
        raise _no_google_login(" ".join(str(error).split())[:200]) from error


def _no_google_login(why: str) -> ModelError:
    return ModelError(
        f"Vertex AI cannot be used: there are no usable Google credentials ({why}).",
        hint="Run `gcloud auth application-default login`, or point GOOGLE_APPLICATION_CREDENTIALS at a key file.",
        kind="not_logged_in",
    )


def _vertex_address(location: str) -> str:
    match location:
        case "global":
            return "https://aiplatform.googleapis.com/v1"
        case "us" | "eu":
            return f"https://aiplatform.{location}.rep.googleapis.com/v1"
        case _:
            return f"https://{location}-aiplatform.googleapis.com/v1"


def _own_headers(ignored: tuple[str, ...], own: Mapping[str, object]) -> Mapping[str, str]:
    """Give the headers of a client and no others.

    The SDK adds headers from an environment variable of its own to any client; naming them here, in the same spelling, gives
    them our value, or leaves them out where we have none.
    """
    by_name = {name.casefold(): value for name, value in own.items()}
    dropped = {name: by_name.get(name.casefold(), anthropic.Omit()) for name in ignored}
    kept = {
        name: value
        for name, value in own.items()
        if name.casefold() not in {key.casefold() for key in dropped}
    }
    return cast("Mapping[str, str]", {**kept, **dropped})


class MessagesBackend:
    """Answers requests over the Messages API."""

    def __init__(
        self,
        reach: Reach | VertexReach,
        *,
        emit: Emit,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reach = reach
        self._emit = emit
        self._now = now
        self._opening = anyio.Lock()
        self._knows_1h = True

    @property
    def name(self) -> str:
        """The backend's name in `ktx.yaml`."""
        return self._reach.name if isinstance(self._reach, Reach) else "vertex"

    @property
    def capabilities(self) -> Capabilities:
        """What the Messages API can do."""
        return capabilities(is_vertex=self.name == "vertex")

    async def send(self, request: Request) -> Reply:
        """Answer one request."""
        reach = await self._opened()
        if not self._knows_1h:
            request = replace(request, cache_plan=shorten(request.cache_plan))
        try:
            return await self._ask(reach, request)
        except ModelError as error:
            is_refused_hour = error.kind == "bad_request" and "ttl" in error.message and reach.refuses_1h
            if not is_refused_hour or shorten(request.cache_plan) == request.cache_plan:
                raise
        self._knows_1h = False
        self._emit(
            Notice(
                message="Vertex AI refuses a cache time of 1h here; ktx goes on with 5m (`vertexFallbackTo5m`)."
            )
        )
        return await self._ask(reach, replace(request, cache_plan=shorten(request.cache_plan)))

    async def probe(self, model: str) -> Probe:
        """Ask the model for a word."""
        asked = Request(
            model=model, messages=(user("Answer with the word: ready"),), max_output_tokens=_PROBE_TOKENS
        )
        reply = await self.send(asked)
        return Probe(
            model=reply.model or model,
            detail=f"{reply.model or model} answers",
            usage=reply.usage,
            request_id=reply.request_id,
        )

    async def aclose(self) -> None:
        """Close the client's connections."""
        if isinstance(self._reach, Reach):
            with anyio.CancelScope(shield=True):
                await self._reach.client.close()

    async def _opened(self) -> Reach:
        if isinstance(self._reach, Reach):
            return self._reach
        async with self._opening:
            reach = self._reach if isinstance(self._reach, Reach) else await self._reach.open()
            self._reach = reach
            return reach

    async def _ask(self, reach: Reach, request: Request) -> Reply:
        listener = Listener()
        request_id: str | None = None
        try:
            async with self._responding(reach, request) as response:
                request_id = response.headers.get("request-id") or response.headers.get("x-request-id")
                await self._listen(reach, request, response, listener)
                said = listener.said()
                return Reply(
                    parts=said.parts,
                    stop_reason=said.stop_reason,
                    usage=said.usage,
                    model=said.model,
                    request_id=request_id or said.message_id,
                    limits=read_limits(response.headers, self._now()),
                )
        except GarbledError as error:
            garbled = ModelError(
                f"`{reach.name}` sent an answer that cannot be read: {error}.",
                hint="If this repeats, check that `base_url` speaks the Messages API.",
                kind="garbled",
                request_id=request_id,
            )
            raise _billed(garbled, listener) from error
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            cut = ModelError(
                f"The connection to `{reach.name}` broke off ({type(error).__name__}).",
                hint="Check the network and `base_url`.",
                kind="connection",
                request_id=request_id,
            )
            raise _billed(cut, listener) from error
        except ModelError as error:
            raise _billed(error, listener) from error.__cause__

    @asynccontextmanager
    async def _responding(self, reach: Reach, request: Request) -> AsyncGenerator[httpx2.Response, None]:
        messages = cast("Any", reach.client.messages.with_streaming_response)
        try:
            async with messages.create(**request_body(request), stream=True) as response:
                yield cast("httpx2.Response", response.http_response)
        except anthropic.APIStatusError as error:
            raise self._refusal(reach, request, error) from error
        except anthropic.APIConnectionError as error:
            cause = type(error.__cause__).__name__ if error.__cause__ else type(error).__name__
            raise ModelError(
                f"`{reach.name}` cannot be reached at {_place(reach)} ({cause}).",
                hint="Check the network and `base_url`.",
                kind="connection",
            ) from error
        except anthropic.AnthropicError as error:
            raise ModelError(f"`{reach.name}` cannot be asked: {error}"[:400], kind="bad_request") from error
        except Exception as error:
            if type(error).__module__.startswith("google."):
                raise _no_google_login(" ".join(str(error).split())[:200]) from error
            raise

    def _refusal(self, reach: Reach, request: Request, error: anthropic.APIStatusError) -> ModelError:
        headers = error.response.headers
        refusal = Refusal(
            status=error.status_code,
            type=error.type,
            message=error.api_message or error.message,
            request_id=error.request_id or headers.get("x-request-id"),
            retry_after_s=retry_after_s(headers, self._now()),
        )
        return as_error(refusal, backend=reach.name, model=request.model, login_hint=reach.login_hint)

    async def _listen(
        self, reach: Reach, request: Request, response: httpx2.Response, listener: Listener
    ) -> None:
        has_begun = False
        async for event in AsyncStream.raw_events(response):
            if event.event == "error":
                raise as_error(
                    _streamed_refusal(event.data, response.headers),
                    backend=reach.name,
                    model=request.model,
                    login_hint=reach.login_hint,
                )
            if not event.data or event.data == "[DONE]":
                continue
            listener.hear(_decoded(event.data))
            if not has_begun and listener.has_begun:
                has_begun = True
                if request.on_begin is not None:
                    request.on_begin(listener.usage)


def _decoded(data: str) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise GarbledError("an event that is not JSON") from error


def _streamed_refusal(data: str, headers: Mapping[str, str]) -> Refusal:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    error = cast("dict[str, object]", told).get("error") if isinstance(told, dict) else None
    fields = cast("dict[str, object]", error) if isinstance(error, dict) else {}
    kind, message = fields.get("type"), fields.get("message")
    return Refusal(
        status=200,
        type=kind if isinstance(kind, str) else None,
        message=message if isinstance(message, str) else "an error in the middle of the answer",
        request_id=headers.get("request-id"),
    )


def _billed(error: ModelError, listener: Listener) -> ModelError:
    try:
        return BilledError(error, listener.usage) if listener.has_begun else error
    except GarbledError:
        return error


def _place(reach: Reach) -> str:
    address = reach.client.base_url
    return f"{address.scheme}://{address.host}" + (f":{address.port}" if address.port else "")


def gateway_address(base_url: str) -> str:
    """Give the address the SDK wants, which appends `/v1/messages` itself.

    >>> gateway_address("https://gw.example/llm/v1/")
    'https://gw.example/llm'

    Raises:
        ConfigError: the address belongs to another protocol, or is none.
    """
    bare = base_url.strip().rstrip("/")
    if not bare.startswith(("http://", "https://")):
        raise ConfigError(
            f"`{base_url}` is not an http(s) address.", hint="Set `base_url` to the gateway's address."
        )
    if bare.endswith("/v1/ai"):
        raise ConfigError(
            f"`{base_url}` speaks the AI SDK's own protocol, not the Messages API.",
            hint=f"Use the gateway's Anthropic-compatible address, usually `{bare.removesuffix('/v1/ai')}`.",
        )
    return bare.removesuffix("/v1/messages").removesuffix("/v1")
