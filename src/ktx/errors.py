"""Every exception that ktx raises on purpose, ordered by who can act on it.

```text
KtxError                 something cannot go on
├── UsageError           whoever typed the command            exit 2
├── ConfigError          whoever owns ktx.yaml                exit 2
├── LayerError           whoever edits semantic-layer/, wiki/ exit 1
├── QueryError           whoever asked the question           exit 1
└── OutsideError         nobody here: a retry may help        exit 3
    ├── WarehouseError   the database
    ├── SourceError      a context source (dbt, Looker, …)
    └── ModelError       a language model or its program
        ├── RateLimitError
        └── BudgetError  our own limit, reached before the call
```

A message is one sentence with names in backticks and the offending value; `hint` says what to do about it.
Neither ever holds a secret or a warehouse row.
"""

from collections.abc import Sequence

from ktx.findings import Finding


class KtxError(Exception):
    """Stop with a sentence that a person can act on."""

    exit_code: int = 70

    def __init__(self, message: str, *, hint: str | None = None, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.findings = tuple(findings)


class UsageError(KtxError):
    """The command line, or an argument of a public function, cannot be used as given."""

    exit_code = 2


class ConfigError(KtxError):
    """`ktx.yaml`, a reference in it, or the project folder cannot be used as it stands."""

    exit_code = 2


class LayerError(KtxError):
    """A file of the context layer cannot be used as it stands."""

    exit_code = 1


class QueryError(KtxError):
    """A question is refused: it is wrong, unsafe, or its answer could not be proven right."""

    exit_code = 1


class OutsideError(KtxError):
    """Something outside ktx failed; the same command may succeed later."""

    exit_code = 3


class WarehouseError(OutsideError):
    """A database refused, timed out, or could not be reached."""


class SourceError(OutsideError):
    """A context source refused, timed out, or sent something unreadable."""


class ModelError(OutsideError):
    """A language model, or the program that runs it, failed.

    `request_id` is the vendor's, for a support ticket; `kind` names the failure from a closed set of the LLM runtime;
    `retry_after_s` is how long the other side asks to wait, where it says so.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        kind: str = "failed",
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class RateLimitError(ModelError):
    """A provider asked to slow down for longer than the configured wait; `retry_after_s` is its own figure."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(
            message, hint=hint, kind="rate_limited", request_id=request_id, retry_after_s=retry_after_s
        )


class BudgetError(ModelError):
    """The next call would pass `llm.budget`; nothing was sent, and a later run continues where this one stopped."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, kind="budget")
