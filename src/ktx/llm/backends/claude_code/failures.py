"""What Claude Code says when something fails, as the runtime's own errors.

A failed run ends with `subtype: "success"` and `is_error: true`; the cause stands in a synthetic assistant message before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ktx.errors import ModelError, RateLimitError
from ktx.llm.backend import FailureKind

LOGIN_HINT: Final = (
    "Log in with `claude` and `/login`, or set CLAUDE_CODE_OAUTH_TOKEN to the output of `claude setup-token`."
)
_MAX_TEXT: Final = 400


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The cause of a failed run as the program words it. `resets_at` is in epoch seconds."""

    text: str = ""
    error: str | None = None
    api_error: str | None = None
    api_error_type: str | None = None
    status: int | None = None
    terminal_reason: str | None = None
    request_id: str | None = None
    resets_at: float | None = None


def as_error(failure: Failure, *, model: str, now: float) -> ModelError:
    """Give the error for a failed run; `now` in epoch seconds."""
    kind = failure_kind(failure)
    said = failure.text.removeprefix("API Error: ").strip()[:_MAX_TEXT] or "no reason given"
    if kind == "rate_limited":
        wait_s = max(0.0, failure.resets_at - now) if failure.resets_at else None
        return RateLimitError(
            f"Claude Code was asked to slow down: {said}",
            hint="Wait for the limit to reset, or give the role another backend.",
            retry_after_s=wait_s,
            request_id=failure.request_id,
        )
    message, hint = _SAYINGS[kind]
    return ModelError(
        message.format(model=model, said=said), hint=hint, kind=kind, request_id=failure.request_id
    )


def failure_kind(failure: Failure) -> FailureKind:
    """Classify a failure: by the program's own word first, then by the status of the API.

    >>> failure_kind(Failure(error="authentication_failed"))
    'not_logged_in'
    >>> failure_kind(Failure(error="authentication_failed", status=401))
    'unauthorized'
    """
    if failure.terminal_reason == "prompt_too_long":
        return "context_too_long"
    status = failure.status or 0
    by_word = _BY_WORD.get(failure.error or "")
    if by_word:
        return by_word
    if failure.error == "authentication_failed":
        return _BY_STATUS.get(status, "not_logged_in")
    if failure.api_error == "connection_failed":
        return "connection"
    if failure.api_error_type == "overloaded_error":
        return "overloaded"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500 or failure.error == "server_error":
        return "server_error"
    return "bad_request" if status >= 400 else "garbled"


_BY_WORD: Final[Mapping[str, FailureKind]] = {
    "rate_limit": "rate_limited",
    "model_not_found": "unknown_model",
    "billing_error": "billing",
    "cloud_credential_error": "leaked",
}
_BY_STATUS: Final[Mapping[int, FailureKind]] = {
    401: "unauthorized",
    402: "billing",
    403: "forbidden",
    404: "unknown_model",
    413: "context_too_long",
    429: "rate_limited",
    529: "overloaded",
}
_AGAIN: Final = "Try again in a moment; https://status.claude.com shows known troubles."
_SAYINGS: Final[Mapping[str, tuple[str, str | None]]] = {
    "not_logged_in": ("Claude Code is not logged in.", LOGIN_HINT),
    "unauthorized": ("The login of Claude Code was refused (401): {said}", LOGIN_HINT),
    "forbidden": (
        "The account of Claude Code may not do this (403): {said}",
        "Check the plan and its permissions.",
    ),
    "billing": ("The account of Claude Code has no credit: {said}", "Check the plan on claude.ai."),
    "unknown_model": (
        "Claude Code does not know the model `{model}`, or the account may not use it.",
        "Use an alias such as `sonnet`, `haiku` or `opus`, or a full id such as `claude-sonnet-5-5`.",
    ),
    "context_too_long": ("The prompt does not fit into the context of `{model}`: {said}", None),
    "bad_request": ("The API refused the request of Claude Code: {said}", None),
    "overloaded": ("The API is overloaded: {said}", _AGAIN),
    "server_error": ("The API failed: {said}", _AGAIN),
    "connection": ("The connection to the API was lost: {said}", "Check the network and HTTPS_PROXY."),
    "garbled": ("The API answered with something that Claude Code could not read: {said}", _AGAIN),
    "leaked": (
        "A setting that routes Claude Code to a cloud provider reached it: {said}",
        "Remove it from the managed settings of Claude Code, or choose another `llm.provider.backend`.",
    ),
}
