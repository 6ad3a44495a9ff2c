"""What a million tokens cost, as a dated table. A model that is not in it has no price: ktx then shows tokens and no money.

Figures are list prices in US dollars of Anthropic's own API, as shipped in the model catalogue of its command-line client
2.1.330; cloud resellers may differ. `AS_OF` is said wherever a price is shown.
"""

import re
from dataclasses import dataclass
from typing import Final

from ktx.llm.messages import Usage

AS_OF: Final = "2026-11-22"


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars per million tokens, by how a token is billed."""

    input: float
    output: float
    cache_write_5m: float
    cache_write_1h: float
    cache_read: float

    def cost_usd(self, usage: Usage) -> float:
        """Give the cost of one bill."""
        return (
            usage.uncached_input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_write_5m_tokens * self.cache_write_5m
            + usage.cache_write_1h_tokens * self.cache_write_1h
            + usage.cache_read_tokens * self.cache_read
        ) / 1_000_000


@dataclass(frozen=True, kw_only=True)
class _Listed:
    price: Price
    above_input_tokens: int | None = None
    price_above: Price | None = None


def _tier(input_usd: float, output_usd: float, *, cache_read: float | None = None) -> Price:
    """Writes cost 1.25 and 2 times the input at 5 minutes and 1 hour; reads a tenth where the list says nothing else."""
    return Price(
        input=input_usd,
        output=output_usd,
        cache_write_5m=input_usd * 1.25,
        cache_write_1h=input_usd * 2,
        cache_read=input_usd / 10 if cache_read is None else cache_read,
    )


_OPUS_5_5 = _Listed(price=_tier(4, 20, cache_read=0.2))
_FABLE_5_2 = _Listed(price=_tier(8, 40, cache_read=0.2))
_OPUS_5 = _Listed(price=_tier(5, 25))
_SONNET_4 = _Listed(price=_tier(3, 15))
_LISTED: Final = {
    "claude-haiku-5-5": _Listed(
        price=_tier(0.1, 0.5), above_input_tokens=100_000, price_above=_tier(0.5, 2.5)
    ),
    "claude-haiku-4-5": _Listed(price=_tier(1, 5)),
    "claude-sonnet-5-5": _Listed(price=_tier(2, 10, cache_read=0.1)),
    "claude-sonnet-5": _Listed(price=_tier(2, 10)),
    "claude-sonnet-4-6": _SONNET_4,
    "claude-sonnet-4-5": _SONNET_4,
    "claude-opus-5-5": _OPUS_5_5,
    "claude-opus-5": _OPUS_5,
    "claude-opus-4-8": _OPUS_5,
    "claude-opus-4-7": _OPUS_5,
    "claude-opus-4-6": _OPUS_5,
    "claude-opus-4-5": _OPUS_5,
    "claude-fable-5-2": _FABLE_5_2,
    "claude-fable-5-1": _Listed(price=_tier(10, 50, cache_read=0.25)),
    "claude-fable-5": _Listed(price=_tier(10, 50)),
    "claude-mythos-5-2": _FABLE_5_2,
    "claude-mythos-5-1": _Listed(price=_tier(10, 50, cache_read=0.25)),
    "claude-mythos-5": _Listed(price=_tier(10, 50)),
}
_DATED = re.compile(r"[-@](20\d{6})$")


def plain_model_id(model: str) -> str:
    """Give a model id without vendor prefix, date and context marker.

    >>> plain_model_id("anthropic/claude-haiku-4.5"), plain_model_id("claude-opus-4-5@20251101")
    ('claude-haiku-4-5', 'claude-opus-4-5')
    """
    bare = model.rsplit("/", 1)[-1].removesuffix("[1m]").replace(".", "-")
    return _DATED.sub("", bare)


def cost_usd(model: str, usage: Usage) -> float | None:
    """Give what one request cost, or None when the price of the model is not known.

    >>> cost_usd("claude-sonnet-5-5", Usage(uncached_input_tokens=1_000_000))
    2.0
    >>> cost_usd("gpt-5.5", Usage(output_tokens=1)) is None
    True
    """
    price = price_of(model, usage.input_tokens)
    return None if price is None else price.cost_usd(usage)


def price_of(model: str, input_tokens: int = 0) -> Price | None:
    """Give the list price of a model for a request of so many input tokens."""
    listed = _LISTED.get(plain_model_id(model))
    if listed is None:
        return None
    if listed.above_input_tokens is not None and input_tokens > listed.above_input_tokens:
        return listed.price_above
    return listed.price


def saved_usd(model: str, usage: Usage) -> float | None:
    """Give what the prompt cache saved: the price of the same input uncached, less what was paid. Negative when writes cost more."""
    price = price_of(model, usage.input_tokens)
    if price is None:
        return None
    uncached = Usage(uncached_input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
    return price.cost_usd(uncached) - price.cost_usd(usage)
