"""JSON over HTTP as the tools around a warehouse speak it: one client, polite retries, errors that name the tool."""

import json
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from ktx import http
from ktx.errors import ConfigError, OutsideError, SourceError

_TRIES: Final = 5
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0
_WORTH_ANOTHER: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 529})


class Refused(SourceError):  # noqa: N818 - it is an answer, with its status
    """The tool answered with a status that no retry changes; `status` is that."""

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Unauthorized(ConfigError):  # noqa: N818 - it is an answer, which a new log-in may change
    """The tool refused the credential (401)."""


class Api:
    """A tool's API. Use it in a `with` block.

    `tool` names it in messages. Answers of 429 and 5xx, and connections that break, are tried again after the wait that the
    server asks for, else after a growing one.
    """

    def __init__(
        self,
        *,
        tool: str,
        base_url: str,
        headers: Mapping[str, str],
        login_hint: str,
        proxy: str | None = None,
        timeout_s: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._tool = tool
        self._login_hint = login_hint
        self._sleep = sleep
        self._client = http.open_client(
            base_url=base_url, headers=dict(headers), timeout_s=timeout_s, proxy=proxy
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(
        self, path: str, *, query: Mapping[str, str | int | bool] | None = None, tries: int = _TRIES
    ) -> object:
        """Give a parsed answer."""
        return self.call("GET", path, query=query, tries=tries)

    def post(self, path: str, payload: object = None, *, form: Mapping[str, str] | None = None) -> object:
        """Send and give a parsed answer."""
        return self.call("POST", path, payload=payload, form=form)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | bool] | None = None,
        payload: object = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        tries: int = _TRIES,
    ) -> object:
        """Send one request, as often as it takes within `tries`, and give the parsed JSON.

        Raises:
            Unauthorized: the credential was refused (401).
            Refused: the tool answered with another status that no retry changes.
            SourceError: it could not be reached, kept failing, or answered with something else than JSON.
        """
        wait_s = _FIRST_WAIT_S
        for left in range(tries - 1, -1, -1):
            try:
                answer = http.request(
                    self._client, method, path, query=query, payload=payload, form=form, headers=headers
                )
            except OutsideError as error:
                if left == 0:
                    raise SourceError(f"{self._tool}: {error.message}", hint=error.hint) from error
                self._sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
                continue
            if answer.status in _WORTH_ANOTHER and left:
                asked = answer.retry_after_s
                self._sleep(min(asked if asked is not None else wait_s, _LONGEST_WAIT_S))
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
                continue
            return self._parsed(answer, method, path)
        raise AssertionError("the last try returns or raises")

    def _parsed(self, answer: http.Answer, method: str, path: str) -> object:
        what = f"`{method} {path.partition('?')[0]}`"
        if answer.status == 401:
            raise Unauthorized(f"{self._tool} refuses the credential (401 at {what}).", hint=self._login_hint)
        if answer.status >= 300:
            raise Refused(f"{self._tool} answered {answer.status} to {what}.", status=answer.status)
        if not answer.body.strip():
            return None
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{self._tool} answered {what} with something that is not JSON.") from error
