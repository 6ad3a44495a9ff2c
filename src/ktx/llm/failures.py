"""Failures of a Messages endpoint, told apart: by the error's type first, its status second, its words last.

A stream that already began reports an overload inside a response of status 200, so the status alone says little.
"""

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ktx.errors import ModelError, RateLimitError
from ktx.llm.backend import FailureKind, Limits

_KIND_BY_TYPE: Final[Mapping[str, FailureKind]] = {
    "authentication_error": "unauthorized",
    "permission_error": "forbidden",
    "billing_error": "billing",
    "not_found_error": "unknown_model",
    "rate_limit_error": "rate_limited",
    "overloaded_error": "overloaded",
    "timeout_error": "server_error",
    "api_error": "server_error",
    "request_too_large": "context_too_long",
}
_KIND_BY_STATUS: Final[Mapping[int, FailureKind]] = {
    401: "unauthorized",
    402: "billing",
    403: "forbidden",
    404: "unknown_model",
    408: "server_error",
    409: "server_error",
    413: "context_too_long",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}
_TOO_LONG: Final = (
    "prompt is too long",
    "context window",
    "context length",
    "maximum context",
    "too many tokens",
)
_BUCKETS: Final = ("requests", "tokens", "input-tokens", "output-tokens")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What an endpoint answered instead of a message."""

    status: int
    type: str | None
    message: str
    request_id: str | None = None
    retry_after_s: float | None = None


def failure_kind(status: int, error_type: str | None, message: str) -> FailureKind:
    """Name the kind of a failure.

    >>> failure_kind(200, "overloaded_error", "Overloaded"), failure_kind(400, "invalid_request_error", "prompt is too long: 9")
    ('overloaded', 'context_too_long')
    """
    words = message.casefold()
    if any(sign in words for sign in _TOO_LONG):
        return "context_too_long"
    if "credit balance" in words:
        return "billing"
    if (
        "output_config" in words
        or "structured output" in words
        or "json_schema" in words
        or "allowedpartnermodelfeatures" in words
    ):
        return "unsupported"
    if error_type in _KIND_BY_TYPE:
        return _KIND_BY_TYPE[error_type]
    if status in _KIND_BY_STATUS:
        return _KIND_BY_STATUS[status]
    return "server_error" if status >= 500 or status == 200 else "bad_request"


def as_error(refusal: Refusal, *, backend: str, model: str, login_hint: str) -> ModelError:
    """Give the exception for a refusal: one sentence, the vendor's own words cut short, and the way out."""
    kind = failure_kind(refusal.status, refusal.type, refusal.message)
    said = " ".join(refusal.message.split())[:300]
    if kind == "rate_limited":
        return RateLimitError(
            f"`{backend}` asks to slow down: {said}",
            hint="Wait, or lower `ingest.workUnits.maxConcurrency`.",
            retry_after_s=refusal.retry_after_s,
            request_id=refusal.request_id,
        )
    message, hint = _sentence(kind, backend, model, said, login_hint)
    return ModelError(
        message, hint=hint, kind=kind, request_id=refusal.request_id, retry_after_s=refusal.retry_after_s
    )


def _sentence(
    kind: FailureKind, backend: str, model: str, said: str, login_hint: str
) -> tuple[str, str | None]:
    match kind:
        case "unauthorized":
            return f"`{backend}` refuses the credential: {said}", login_hint
        case "forbidden":
            return (
                f"`{backend}` does not allow this credential to use `{model}`: {said}",
                "Ask for access, or name another model in `llm.models`.",
            )
        case "billing":
            return (
                f"`{backend}` wants payment first: {said}",
                "Add credit to the account, or choose another backend.",
            )
        case "unknown_model":
            return f"`{backend}` has no model `{model}`: {said}", "Correct the name in `llm.models`."
        case "context_too_long":
            return (
                f"The prompt is too long for `{model}`: {said}",
                "Choose a model with a larger context, or ask about less at once.",
            )
        case "overloaded":
            return f"`{backend}` is overloaded: {said}", "Try again later."
        case "unsupported":
            return f"`{backend}` does not take this request for `{model}`: {said}", None
        case "server_error":
            return f"`{backend}` failed: {said}", "Try again later."
        case _:
            return f"`{backend}` rejects the request: {said}", None


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read how long a provider asks to wait: its own header first, else until an exhausted limit is full again.

    >>> retry_after_s({"retry-after-ms": "250"}, datetime(2026, 1, 1, tzinfo=UTC))
    0.25
    >>> retry_after_s({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, datetime(2026, 1, 1, tzinfo=UTC))
    60.0
    """
    in_ms = _number(headers.get("retry-after-ms"))
    if in_ms is not None:
        return max(0.0, in_ms / 1000)
    given = headers.get("retry-after")
    in_s = _number(given)
    if in_s is not None:
        return max(0.0, in_s)
    if given:
        try:
            return max(0.0, (email.utils.parsedate_to_datetime(given) - now).total_seconds())
        except (TypeError, ValueError):
            pass
    waits = [
        wait
        for bucket in _BUCKETS
        if _number(headers.get(f"anthropic-ratelimit-{bucket}-remaining")) == 0
        and (wait := _until(headers.get(f"anthropic-ratelimit-{bucket}-reset"), now)) is not None
    ]
    return max(waits) if waits else None


def read_limits(headers: Mapping[str, str], now: datetime) -> Limits | None:
    """Read how much of the tightest rate limit is left, or None when nothing is said.

    >>> headers = {"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "5"}
    >>> read_limits(headers, datetime(2026, 1, 1, tzinfo=UTC)).remaining_share
    0.1
    """
    tightest: Limits | None = None
    for bucket in _BUCKETS:
        limit = _number(headers.get(f"anthropic-ratelimit-{bucket}-limit"))
        remaining = _number(headers.get(f"anthropic-ratelimit-{bucket}-remaining"))
        if limit is None or remaining is None or limit <= 0:
            continue
        share = min(1.0, max(0.0, remaining / limit))
        if tightest is None or share < tightest.remaining_share:
            until = _until(headers.get(f"anthropic-ratelimit-{bucket}-reset"), now)
            tightest = Limits(remaining_share=share, resets_in_s=until)
    return tightest


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and value == value and abs(value) != float("inf") else None


def _until(text: str | None, now: datetime) -> float | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
