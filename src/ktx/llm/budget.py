"""Our own limit on spending: checked before a call, with the most that call could cost set aside until its bill is known."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ktx.errors import BudgetError
from ktx.llm.messages import Usage
from ktx.llm.prices import cost_usd


@dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    """`llm.budget` as it stands in `ktx.yaml`."""

    usd: float | None = None
    tokens: int | None = None
    per: Literal["run", "day"] = "run"


@dataclass(eq=False)
class Hold:
    """What is set aside for one call; `settle` replaces it by the bill, and more than once as a loop goes on.

    Two calls may set aside the same, so a hold equals itself alone.
    """

    tokens: int
    usd: float
    spent_tokens: int = 0
    spent_usd: float = 0.0


class Budget:
    """Keeps a run, or a day, within its limits.

    `spent_before` gives tokens and dollars that count already, and is asked before every call; `already` is what the run had
    spent before this object was made.
    """

    def __init__(
        self,
        settings: BudgetSettings | None,
        *,
        spent_before: Callable[[], tuple[int, float]] | None = None,
        already: tuple[int, float] = (0, 0.0),
    ) -> None:
        self._settings = settings or BudgetSettings()
        self._spent_before = spent_before
        self._tokens, self._usd = already
        self._holds: list[Hold] = []

    @property
    def is_limited(self) -> bool:
        """Tell whether there is any limit."""
        return self._settings.usd is not None or self._settings.tokens is not None

    @contextmanager
    def hold(self, model: str, most: Usage) -> Generator[Hold, None, None]:
        """Set aside the most that a call can use, for as long as the block runs.

        Raises:
            BudgetError: the call could pass the limit; nothing has been sent.
        """
        hold = Hold(tokens=most.total_tokens, usd=self._priced(model, most))
        self._ensure_room(hold)
        self._holds.append(hold)
        try:
            yield hold
        finally:
            self._holds.remove(hold)
            if self._spent_before is None:
                self._tokens += hold.spent_tokens
                self._usd += hold.spent_usd

    def charge(self, hold: Hold, model: str, usage: Usage, known_usd: float | None = None) -> None:
        """Count a bill against what was set aside."""
        hold.spent_tokens += usage.total_tokens
        hold.spent_usd += known_usd if known_usd is not None else (cost_usd(model, usage) or 0.0)

    def ensure_room_for_another(self, hold: Hold, model: str, like: Usage) -> None:
        """Check in the middle of a loop that one more request like the last fits.

        Raises:
            BudgetError: it could pass the limit.
        """
        hold.tokens = hold.spent_tokens + like.total_tokens
        hold.usd = hold.spent_usd + self._priced(model, like)
        self._holds.remove(hold)
        try:
            self._ensure_room(hold)
        finally:
            self._holds.append(hold)

    def _priced(self, model: str, usage: Usage) -> float:
        if self._settings.usd is None:
            return 0.0
        cost = cost_usd(model, usage)
        if cost is None:
            raise BudgetError(
                f"`llm.budget.usd` cannot be kept: no price is known for `{model}`.",
                hint="Set `llm.budget.tokens` instead.",
            )
        return cost

    def _ensure_room(self, hold: Hold) -> None:
        if not self.is_limited:
            return
        tokens, usd = self._spent_before() if self._spent_before else (self._tokens, self._usd)
        tokens += sum(max(other.tokens, other.spent_tokens) for other in self._holds)
        usd += sum(max(other.usd, other.spent_usd) for other in self._holds)
        limits = self._settings
        if limits.tokens is not None and tokens + hold.tokens > limits.tokens:
            raise self._spent(
                f"{tokens:,} of {limits.tokens:,} tokens are spent or set aside, and the next call may use {hold.tokens:,}"
            )
        if limits.usd is not None and usd + hold.usd > limits.usd:
            raise self._spent(
                f"${usd:.4f} of ${limits.usd:.2f} is spent or set aside, and the next call may cost ${hold.usd:.4f}"
            )

    def _spent(self, figures: str) -> BudgetError:
        when = "Run again" if self._settings.per == "run" else "Run again tomorrow (UTC)"
        return BudgetError(
            f"`llm.budget` for this {self._settings.per} is used up: {figures}.",
            hint=f"{when} to go on where this stopped, or raise `llm.budget`.",
        )
