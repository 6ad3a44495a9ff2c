"""How many pages one run may add or change, and which ones when there are more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ktx.findings import Finding
from ktx.ingest.change import Change
from ktx.ingest.draft import Draft

Choose: TypeAlias = Callable[[Sequence[tuple[str, str]], int], Sequence[str]]
"""Given page keys with their summaries and how many are wanted: keys in order of worth."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Most new and most changed pages of one run; None sets no limit."""

    creates: int | None = None
    updates: int | None = None


@dataclass(frozen=True, kw_only=True)
class Curated:
    """What stays for this run, and what people should know."""

    changes: tuple[Change, ...]
    findings: tuple[Finding, ...] = ()


def in_order(pages: Sequence[tuple[str, str]], most: int) -> Sequence[str]:
    """Choose the first ones by key."""
    return [key for key, _ in pages[:most]]


def curate(draft: Draft, changes: Sequence[Change], limits: Limits, choose: Choose = in_order) -> Curated:
    """Keep to the limits. What is left for later comes back in the next run, without being paid for again."""
    summaries: dict[str, str] = {}
    for change in changes:
        if change.artifact.kind == "page" and not change.is_removal:
            summaries.setdefault(change.artifact.name, "")
            if change.entry == "summary":
                summaries[change.artifact.name] = str(change.value)
    new = sorted((key, text) for key, text in summaries.items() if key not in draft.pages)
    old = sorted(
        (key, text)
        for key, text in summaries.items()
        if key in draft.pages and any(_differs(draft, one) for one in changes if one.artifact.name == key)
    )
    later: set[str] = set()
    findings: list[Finding] = []
    for pages, most, verb in ((new, limits.creates, "added"), (old, limits.updates, "changed")):
        if most is None or len(pages) <= most:
            continue
        chosen = [key for key in choose(pages, most) if key in dict(pages)][:most]
        chosen += [key for key, _ in pages if key not in chosen][: most - len(chosen)]
        left = [key for key, _ in pages if key not in chosen]
        later.update(left)
        findings.append(
            Finding(
                level="note",
                code="left-for-later",
                message=f"{len(left):,} pages are left for later runs, because one run may have {most:,} {verb}.",
            )
        )
    return Curated(
        changes=tuple(
            one for one in changes if one.artifact.kind != "page" or one.artifact.name not in later
        ),
        findings=tuple(findings),
    )


def _differs(draft: Draft, change: Change) -> bool:
    return change.artifact.kind == "page" and draft.entries(change.artifact).get(change.entry) != change.value
