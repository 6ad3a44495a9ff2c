"""Questions on a terminal. Whoever asks checks first that there is one; Ctrl-C anywhere ends the command."""

import sys
from collections.abc import Sequence
from typing import Protocol, cast

from ktx.errors import UsageError


class _Question(Protocol):
    def unsafe_ask(self) -> object: ...


def ensure_terminal(instead: str) -> None:
    """Check that a person can be asked.

    Raises:
        UsageError: there is no terminal; `instead` says how to do without.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("There is no terminal to ask on.", hint=instead)


def choose(question: str, options: Sequence[tuple[str, str]], *, default: str | None = None) -> str:
    """Let a person choose among (value, description) pairs and give the value."""
    import questionary  # only a question pays for it

    width = max(len(value) for value, _ in options)
    choices = [
        questionary.Choice(title=f"{value:<{width}}  {about}", value=value) for value, about in options
    ]
    return _answer(cast("_Question", questionary.select(question, choices=choices, default=default)))


def choose_some(question: str, options: Sequence[str], *, preset: Sequence[str] = ()) -> tuple[str, ...]:
    """Let a person mark any of several values, those in `preset` marked already, and give the marked ones."""
    import questionary

    choices = [questionary.Choice(title=value, value=value, checked=value in preset) for value in options]
    marked = cast("_Question", questionary.checkbox(question, choices=choices)).unsafe_ask()
    return tuple(str(value) for value in cast("list[object]", marked))


def ask_text(question: str, *, default: str = "") -> str:
    """Let a person type a line."""
    import questionary

    return _answer(cast("_Question", questionary.text(question, default=default))).strip()


def ask_secret(question: str) -> str:
    """Let a person paste a secret; it is not shown."""
    import questionary

    return _answer(cast("_Question", questionary.password(question))).strip()


def _answer(question: _Question) -> str:
    return str(question.unsafe_ask())
