"""What a failed turn of Codex means, in the runtime's words."""

import json
import re
from typing import Final

from ktx.errors import ModelError, RateLimitError
from ktx.llm.backends.codex.rpc import Json, as_object

_BY_NAME: Final = {
    "contextWindowExceeded": "context_too_long",
    "serverOverloaded": "overloaded",
    "internalServerError": "server_error",
    "unauthorized": "unauthorized",
    "badRequest": "bad_request",
    "cyberPolicy": "refused",
    "misalignmentPolicyViolation": "refused",
    "sandboxError": "server_error",
}
_BY_STATUS: Final = {
    400: "bad_request", 401: "unauthorized", 402: "billing", 403: "forbidden", 404: "unknown_model", 413: "context_too_long",
    503: "server_error", 529: "overloaded",
}  # fmt: skip
_HINTS: Final = {
    "not_logged_in": "Run `codex login` once.",
    "truncated": "Ask for less at once.",
    "unauthorized": "Run `codex login` again.",
    "unknown_model": "Name a model that your Codex login may use in `llm.models`; `codex` lists them under `/model`.",
    "forbidden": "The account of your Codex login may not do this.",
    "context_too_long": "Give less evidence at once, or a model with a larger window.",
    "billing": "Check the plan or the credit of the account that Codex is logged in to.",
    "connection": "Check the network and, behind a proxy, HTTPS_PROXY and CODEX_CA_CERTIFICATE.",
}
_BY_WORDS: Final = (
    (re.compile(r"missing bearer|not logged in", re.IGNORECASE), "not_logged_in"),
    (re.compile(r"incomplete response.*max_output_tokens", re.IGNORECASE), "truncated"),
    (re.compile(r"content_filter", re.IGNORECASE), "refused"),
    (re.compile(r"too long|context window|maximum context", re.IGNORECASE), "context_too_long"),
    (re.compile(r"credit balance|billing|exceeded your current quota", re.IGNORECASE), "billing"),
    (
        re.compile(r"model.*(not supported|does not exist|not found|do not have access)", re.IGNORECASE),
        "unknown_model",
    ),
)
_CONNECTION = re.compile(r"stream disconnected|error sending request|connection|timed? ?out", re.IGNORECASE)


def failure_of(error: Json, *, model: str, limits_reset_in_s: float | None) -> ModelError:
    """Give the error of a failed turn. `limits_reset_in_s` is what Codex last said about a limit that is used up."""
    message = _sentence(str(error.get("message") or "no reason given"))
    name, status = _info(error.get("codexErrorInfo"))
    if name == "usageLimitExceeded":
        return RateLimitError(
            f"The usage limit of your Codex login is reached: {message}",
            hint="Wait for the reset, or give `llm.models` a fallback on another backend.",
            retry_after_s=limits_reset_in_s,
        )
    if name == "rateLimitExceeded" or status == 429:
        return RateLimitError(f"Codex is asked to slow down: {message}", retry_after_s=None)
    kind = _kind(name, status, message)
    if kind == "unknown_model":
        message = f"Codex cannot use the model `{model}`: {message}"
    else:
        message = f"Codex failed: {message}"
    return ModelError(message, hint=_HINTS.get(kind), kind=kind)


def _kind(name: str, status: int | None, message: str) -> str:
    for words, kind in _BY_WORDS:
        if words.search(message):
            return kind
    if name in _BY_NAME:
        return _BY_NAME[name]
    if status is not None:
        return _BY_STATUS.get(status, "server_error" if status >= 500 else "bad_request")
    if name.startswith(("http", "response")) or _CONNECTION.search(message):
        return "connection"
    return "bad_request" if name == "other" else "server_error"


def _info(value: object) -> tuple[str, int | None]:
    """Give the name of Codex's error and the HTTP status inside it."""
    if isinstance(value, str):
        return value, None
    for name, detail in as_object(value).items():
        status = as_object(detail).get("httpStatusCode")
        return name, status if isinstance(status, int) else None
    return "", None


def _sentence(message: str) -> str:
    """Give the words inside an error body that Codex passed on as JSON."""
    try:
        body: object = json.loads(message)
    except ValueError:
        return message[:600]
    inner = as_object(body).get("detail") or as_object(as_object(body).get("error")).get("message")
    return str(inner or message)[:600]
