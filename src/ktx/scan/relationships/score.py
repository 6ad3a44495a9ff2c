"""The one score of a relationship, and the decision that follows from it.

With rows to look at:

    score = key * coverage * (1 - (1 - name) * (1 - value))

and without any:

    score = key * name

`key` says how surely the target columns identify a row (1 when declared or proven on data, less for a guess), `name` how
well the names agree, `coverage` is the share of distinct child values with a partner, and `value` how surprising it is that
they have one: that numbers 1 to 50 occur among numbers 1 to 1000 surprises nobody (0), that fifty UUIDs do is no accident.
A relationship is accepted from `accept` upwards, when hardly any value lacks a partner; from `review` upwards a person
decides; anything below is rejected.
"""

import math
from dataclasses import dataclass

from ktx.catalog import ColumnProfile, Decision
from ktx.scan.relationships.families import Family

_FULL_BITS = 64.0
_MOST_VIOLATIONS = 0.01
_LEAST_COVERAGE = 0.5


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Where acceptance and review begin (`scan.relationships.acceptThreshold`, `reviewThreshold`)."""

    accept: float = 0.85
    review: float = 0.55


def score(*, name: float, key: float, value: float = 0.0, coverage: float | None = None) -> float:
    """Give the score from 0 to 1; `coverage` is None when no row was looked at.

    >>> score(name=0.97, key=1.0, coverage=1.0) > 0.9, score(name=0.0, key=1.0, coverage=1.0)
    (True, 0.0)
    """
    if coverage is None:
        return round(key * name, 4)
    return round(key * coverage * (1 - (1 - name) * (1 - value)), 4)


def decide(total: float, thresholds: Thresholds, *, coverage: float | None = None) -> Decision:
    """Turn a score into a decision. More than 1 % of values without a partner is for a person to judge.

    >>> decide(0.9, Thresholds(), coverage=0.95), decide(0.9, Thresholds(), coverage=1.0)
    ('review', 'accepted')
    """
    if coverage is not None and coverage < _LEAST_COVERAGE:
        return "rejected"
    is_whole = coverage is None or 1 - coverage <= _MOST_VIOLATIONS
    if total >= thresholds.accept and is_whole:
        return "accepted"
    return "review" if total >= thresholds.review else "rejected"


def surprise_bits(child: ColumnProfile, parent: ColumnProfile, kind: Family) -> float:
    """Give how many bits of chance stand against all of the child's values lying among the parent's by accident.

    Whole numbers are measured by how thinly the parent's fill their own range. Text is measured by its length, and only
    as far as it looks made up (fixed length, or long): words of a language meet by accident.
    """
    count = child.distinct_count
    if not count or not parent.distinct_count:
        return 0.0
    if kind == "integer":
        return count * _sparseness_bits(parent)
    per_value = _text_bits(parent) - math.log2(parent.distinct_count)
    if per_value <= 0:
        return 0.0
    bits = count * per_value
    return bits if _looks_made_up(parent) else min(bits, 24.0)


def surprise(bits: float, *, count: int) -> float:
    """Turn bits into a strength from 0 to 0.95; fewer than three values never convince.

    >>> surprise(0.0, count=50), round(surprise(640.0, count=5), 2), surprise(640.0, count=1) < 0.6
    (0.0, 0.95, True)
    """
    strength = 0.95 * (1 - 2 ** (-bits * 4 / _FULL_BITS))
    return strength if count >= 3 else min(strength, 0.5)


def _sparseness_bits(profile: ColumnProfile) -> float:
    low, high = _number(profile.min_value), _number(profile.max_value)
    if low is None or high is None or high <= low:
        return 0.0
    density = min(1.0, profile.distinct_count / (high - low + 1))
    return -math.log2(density) if density < 0.9 else 0.0


def _text_bits(profile: ColumnProfile) -> float:
    length = profile.min_length or 0
    sample = [value for value, _ in profile.top_values] or [profile.min_value or "", profile.max_value or ""]
    letters = {letter for value in sample for letter in value}
    per_letter = math.log2(10) if all(letter.isdigit() for letter in letters) else 4.0
    return min(length, 36) * per_letter


def _looks_made_up(profile: ColumnProfile) -> bool:
    shortest, longest = profile.min_length or 0, profile.max_length or 0
    sample = [value for value, _ in profile.top_values] or [profile.min_value or "", profile.max_value or ""]
    has_digits = all(any(letter.isdigit() for letter in value) for value in sample if value)
    has_blanks = any(" " in value for value in sample)
    return has_digits and not has_blanks and longest - shortest <= max(2, longest // 4) and shortest >= 4


def _number(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
