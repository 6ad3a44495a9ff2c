"""Duplicates and contradictions among proposals, and between them and the accepted layer, settled by rule.

Identical: one stays. The same definition under a second name: the first name stays, the other is noted. One name with two
meanings: what is accepted keeps the name, the others get clear ones, a page explains, and a person is told. Judgement, where a
model can give it, is for words alone: `Judge` may write better names and a better explanation, and nothing hangs on it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.files import digest
from ktx.findings import Finding, Place
from ktx.ingest.artifact import Artifact, Data, Json, entry_digest, page_artifact, page_entries
from ktx.ingest.change import Change
from ktx.ingest.draft import Draft
from ktx.ingest.merge import UNITED, is_owned
from ktx.names import is_page_key

_DEFINED: Final = ("measures", "segments", "columns")
_MEANING: Final = ("expr", "filter", "segments", "time_dimension", "non_additive", "type")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,80}")


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """One of several meanings of a name: who says so, what it is, and the name it gets; `is_accepted` keeps the old one."""

    name: str
    value: Data
    said_by: str
    evidence: tuple[str, ...]
    is_accepted: bool = False


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """One name of one source with two or more meanings."""

    artifact: Artifact
    entry: str
    meanings: tuple[Meaning, ...]

    @property
    def key(self) -> str:
        """A text that is the same for the same contradiction."""
        told = [
            (one.name, one.value.get("expr"), one.value.get("filter"), one.said_by) for one in self.meanings
        ]
        return digest(f"{self.artifact} {self.entry} {told}")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Names for the meanings, in their order, and an explanation in Markdown; both may be left to the rules."""

    names: tuple[str, ...] = ()
    explanation: str = ""


Judge: TypeAlias = Callable[[Contradiction], Verdict]


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Changes of which no two want one entry to be different things, and what people should know."""

    changes: tuple[Change, ...]
    contradictions: tuple[Contradiction, ...] = ()
    findings: tuple[Finding, ...] = ()


def by_rule(contradiction: Contradiction) -> Verdict:
    """Leave names and words to the rules."""
    del contradiction
    return Verdict()


def settle(draft: Draft, changes: Sequence[Change], *, judge: Judge = by_rule) -> Settled:
    """Settle changes against each other and against the draft; the order in which units came does not count."""
    work = _Settling(draft, judge)
    ordered = _ranked(changes)
    groups: dict[tuple[Artifact, str], list[Change]] = {}
    for change in ordered:
        groups.setdefault((change.artifact, change.entry), []).append(change)
    for (artifact, entry), group in groups.items():
        kept = [one for one in group if not one.is_removal]
        if not kept:
            work.settled.append(group[0])
        elif entry.partition(".")[0] in _DEFINED and artifact.kind == "source":
            work.define(artifact, entry, _ranked(kept))
        elif entry in UNITED:
            work.unite(_ranked(kept))
        elif artifact.kind == "page" and entry.startswith(("section.", "lead")):
            work.tell(_ranked(kept))
        else:
            work.choose(_ranked(kept))
    work.rename()
    settled = work.without_doubles()
    pages = [change for one in work.contradictions for change in _page(one, judge(one), ordered)]
    return Settled(
        changes=(*settled, *pages),
        contradictions=tuple(work.contradictions),
        findings=tuple(work.findings),
    )


def meaning_of(value: Mapping[str, Json], *, source: str, dialect: str | None) -> str:
    """Give a text that two definitions share when they mean the same: layout, case and own qualifiers do not count.

    >>> meaning_of({"expr": "SUM(orders.amount)"}, source="orders", dialect=None) == meaning_of(
    ...     {"expr": "sum( amount )"}, source="orders", dialect=None)
    True
    """
    parts = [
        f"{key}={_canonical(str(value[key]), source, dialect) if key in ('expr', 'filter') else value[key]}"
        for key in _MEANING
        if value.get(key) not in (None, [], "")
    ]
    return "\n".join(parts)


def _canonical(text: str, source: str, dialect: str | None) -> str:
    try:
        tree = sqlglot.parse_one(text, dialect=dialect)
    except (SqlglotError, RecursionError):
        return " ".join(text.split())
    for column in tree.find_all(exp.Column):
        if column.table == source:
            column.set("table", None)
        column.this.set("quoted", value=False)
    return tree.sql(dialect=dialect, comments=False, normalize_functions="upper")


def _ranked(changes: Iterable[Change]) -> list[Change]:
    """Order proposals: importers first, then by unit, so that every run settles alike."""
    return sorted(changes, key=lambda one: (one.by != "import", one.source, one.unit))


@dataclass(kw_only=True)
class _Renaming:
    """In one source's, or one unit's, proposals for an artifact: `old` is now called `new`."""

    artifact: Artifact
    origin: tuple[str, str]
    old: str
    new: str


@dataclass
class _Settling:
    """The settled changes so far."""

    draft: Draft
    judge: Judge
    settled: list[Change] = field(default_factory=list[Change])
    contradictions: list[Contradiction] = field(default_factory=list[Contradiction])
    findings: list[Finding] = field(default_factory=list[Finding])
    renamings: list[_Renaming] = field(default_factory=list[_Renaming])

    def define(self, artifact: Artifact, entry: str, group: list[Change]) -> None:
        """Settle what a measure, segment or column is."""
        distinct: dict[str, Change] = {}
        for change in group:
            distinct.setdefault(self._meaning(change), change)
        accepted = self._accepted(artifact, entry, group)
        accepted_meaning = None if accepted is None else self._value_meaning(artifact, accepted.value)
        others = [change for meaning, change in distinct.items() if meaning != accepted_meaning]
        if not others or (accepted is None and len(others) == 1):
            self.settled.append(group[0])
            return
        if accepted is not None and accepted_meaning in distinct:
            self.settled.append(distinct[accepted_meaning])
        head, _, name = entry.partition(".")
        meanings = [
            Meaning(
                name=f"{name}_{_suffix(change, others)}",
                value=cast("Data", change.value),
                said_by=_said_by(change),
                evidence=change.evidence,
            )
            for change in others
        ]
        told = Contradiction(
            artifact=artifact, entry=entry, meanings=(*((accepted,) if accepted else ()), *meanings)
        )
        told = _named(told, self.judge(told))
        self.contradictions.append(told)
        self.findings.append(_contradiction_finding(told))
        for change, meaning in zip(others, told.meanings[-len(others) :], strict=True):
            value = {**cast("Data", change.value), "name": meaning.name}
            self.settled.append(replace(change, entry=f"{head}.{meaning.name}", value=value))
            self.renamings.append(
                _Renaming(artifact=artifact, origin=(change.source, change.unit), old=name, new=meaning.name)
            )

    def unite(self, group: list[Change]) -> None:
        """Settle a list of a page: all that anybody names."""
        values = [one for change in group for one in cast("list[Json]", change.value)]
        evidence = tuple(dict.fromkeys(id_ for change in group for id_ in change.evidence))
        self.settled.append(replace(group[0], value=list(dict.fromkeys(values)), evidence=evidence))

    def tell(self, group: list[Change]) -> None:
        """Settle a text of a page: different ones stand one after the other, each under a heading that says whose it is."""
        first = group[0]
        self.settled.append(first)
        seen = {entry_digest(first.value)}
        for change in group[1:]:
            if entry_digest(change.value) in seen:
                continue
            seen.add(entry_digest(change.value))
            title = change.entry.removeprefix("section.") if change.entry != "lead" else "More"
            heading = f"{title} ({change.unit})"
            body = re.sub(r"\A#+[^\n]*\n", "", str(change.value)).strip("\n")
            self.settled.append(replace(change, entry=f"section.{heading}", value=f"## {heading}\n\n{body}"))

    def choose(self, group: list[Change]) -> None:
        """Settle anything else: importers before models, then in order."""
        self.settled.append(group[0])
        differs = [one for one in group[1:] if entry_digest(one.value) != entry_digest(group[0].value)]
        self.findings.extend(
            Finding(
                level="note",
                code="other-version-left-out",
                message=f"`{one.entry}` of `{one.artifact}`: {_said_by(one)} says otherwise than {_said_by(group[0])}, whose version is taken.",
            )
            for one in differs
        )

    def rename(self) -> None:
        """Let what else a source or unit says use the new names of its own definitions."""
        for renaming in self.renamings:
            self.settled = [
                _renamed(change, renaming, self._dialect(change.artifact))
                if (change.source, change.unit) == renaming.origin
                else change
                for change in self.settled
            ]

    def without_doubles(self) -> list[Change]:
        """Leave out second names of what another source or unit, or the layer, defines already."""
        names: dict[tuple[Artifact, str], tuple[str, str]] = {}
        for artifact in dict.fromkeys(one.artifact for one in self.settled if one.artifact.kind == "source"):
            for entry, value in self.draft.entries(artifact).items():
                if entry.startswith("measures.") and isinstance(value, dict):
                    origins = self.draft.origins(artifact).get(entry, ())
                    who = origins[0].source if origins else ""
                    names.setdefault((artifact, self._value_meaning(artifact, value)), (entry, who))
        kept: list[Change] = []
        for change in self.settled:
            if not change.entry.startswith("measures.") or change.is_removal:
                kept.append(change)
                continue
            key = (change.artifact, self._meaning(change))
            entry, who = names.setdefault(key, (change.entry, change.source))
            is_own_second_name = change.by == "import" and who == change.source
            if (
                entry == change.entry
                or is_own_second_name
                or change.entry in self.draft.entries(change.artifact)
            ):
                kept.append(change)
                continue
            self.findings.append(
                Finding(
                    level="note",
                    code="second-name-left-out",
                    message=f"`{change.entry}` of `{change.artifact}` is what `{entry}` is already; {_said_by(change)} calls it so.",
                )
            )
            self.renamings.append(
                _Renaming(
                    artifact=change.artifact,
                    origin=(change.source, change.unit),
                    old=change.entry.partition(".")[2],
                    new=entry.partition(".")[2],
                )
            )
        if len(kept) < len(self.settled):
            self.settled = kept
            self.rename()
        return self.settled

    def _accepted(self, artifact: Artifact, entry: str, group: list[Change]) -> Meaning | None:
        """Give the accepted meaning that none of these proposals may replace: a person's own, or another source's."""
        current = self.draft.entries(artifact).get(entry)
        if not isinstance(current, dict):
            return self._inherited(artifact, entry)
        origins = self.draft.origins(artifact).get(entry, ())
        sources = {origin.source for origin in origins}
        if sources & {change.source for change in group}:
            return None
        if origins and is_owned(current, origins) and all(change.by == "model" for change in group):
            return (
                None
                if all(origin.by == "model" for origin in origins)
                else self._as_meaning(entry, current, origins[0].source)
            )
        return self._as_meaning(entry, current, origins[0].source if origins else "a person")

    def _inherited(self, artifact: Artifact, entry: str) -> Meaning | None:
        """Give the physical column that a computed one would hide."""
        head, _, name = entry.partition(".")
        if head != "columns":
            return None
        source = self.draft.layer(artifact.connection_id).sources.get(artifact.name)
        column = None if source is None else source.column(name)
        if column is None or column.expr is not None or self.draft.entries(artifact).get("sql"):
            return None
        return Meaning(
            name=name, value={"expr": name}, said_by="the warehouse", evidence=(), is_accepted=True
        )

    def _as_meaning(self, entry: str, value: Data, said_by: str) -> Meaning:
        return Meaning(
            name=entry.partition(".")[2], value=value, said_by=said_by, evidence=(), is_accepted=True
        )

    def _meaning(self, change: Change) -> str:
        return self._value_meaning(change.artifact, cast("Data", change.value))

    def _value_meaning(self, artifact: Artifact, value: Data) -> str:
        return meaning_of(value, source=artifact.name, dialect=self._dialect(artifact))

    def _dialect(self, artifact: Artifact) -> str | None:
        facts = self.draft.base.warehouses.get(artifact.connection_id)
        return facts.dialect if facts else None


def _suffix(change: Change, others: Sequence[Change]) -> str:
    """Give what tells a proposal from the others: its source, or its unit where one source says both."""
    is_alone = sum(one.source == change.source for one in others) == 1
    text = change.source if is_alone else f"{change.source}_{change.unit}"
    return re.sub(r"\W+", "_", text).strip("_").lower()


def _said_by(change: Change) -> str:
    return f"`{change.source}`" if change.by == "import" else f"`{change.source}` ({change.unit})"


def _named(told: Contradiction, verdict: Verdict) -> Contradiction:
    """Take the judge's names where they are usable and tell the meanings apart."""
    fresh = [one for one in told.meanings if not one.is_accepted]
    names = verdict.names
    old = {one.name for one in told.meanings} | {told.entry.partition(".")[2]}
    is_usable = (
        len(names) == len(fresh)
        and len(set(names)) == len(names)
        and all(_NAME.fullmatch(name) and name not in old for name in names)
    )
    if not is_usable:
        return told
    given = iter(names)
    return replace(
        told,
        meanings=tuple(one if one.is_accepted else replace(one, name=next(given)) for one in told.meanings),
    )


def _renamed(change: Change, renaming: _Renaming, dialect: str | None) -> Change:
    old, new, source = renaming.old, renaming.new, renaming.artifact.name
    if change.artifact.kind == "page":
        return replace(change, value=_renamed_text(change.value, f"{source}.{old}", f"{source}.{new}"))
    if not isinstance(change.value, dict) or not change.entry.startswith("measures."):
        return change
    expr = change.value.get("expr")
    if not isinstance(expr, str) or old not in expr or change.value.get("name") == new:
        return change
    is_home = change.artifact == renaming.artifact
    try:
        tree = sqlglot.parse_one(expr, dialect=dialect)
    except (SqlglotError, RecursionError):
        return change
    hits = [
        column
        for column in tree.find_all(exp.Column)
        if column.name == old and (column.table == source or (is_home and not column.table))
    ]
    if not hits or any(column.find_ancestor(exp.AggFunc) for column in hits):
        return change
    for column in hits:
        column.set("this", exp.to_identifier(new))
    return replace(change, value={**change.value, "expr": tree.sql(dialect=dialect)})


def _renamed_text(value: Json, old: str, new: str) -> Json:
    if isinstance(value, str):
        return re.sub(rf"(?<![\w.]){re.escape(old)}(?!\w)", new, value)
    if isinstance(value, list):
        return [_renamed_text(one, old, new) for one in value]
    return value


def _contradiction_finding(told: Contradiction) -> Finding:
    names = ", ".join(f"`{one.name}` ({one.said_by})" for one in told.meanings)
    return Finding(
        level="warning",
        code="contradiction",
        message=f"`{told.entry}` of `{told.artifact}` has {len(told.meanings)} meanings, kept as {names}.",
        where=Place(),
        fix=f"Decide which one is meant, and say so in `wiki/global/{page_key(told)}.md`.",
    )


def page_key(told: Contradiction) -> str:
    """Name the page that explains a contradiction."""
    name = told.entry.partition(".")[2]
    text = re.sub(r"[^A-Za-z0-9_-]+", "-", f"conflict-{told.artifact.name}-{name}").strip("-").lower()
    return text if is_page_key(text) else f"conflict-{digest(text)[:8]}"


def _page(told: Contradiction, verdict: Verdict, changes: Sequence[Change]) -> Iterator[Change]:
    """Give the page that explains a contradiction."""
    source = told.artifact.name
    name = told.entry.partition(".")[2]
    intro = verdict.explanation.strip() or (
        f"The name `{name}` means different things in different places. Each meaning has a name of its own; ask for the one you need, "
        "and say which one you used. A person should decide whether one of them is the one that counts."
    )
    evidence = tuple(dict.fromkeys(id_ for one in told.meanings for id_ in one.evidence))
    proposing = [one for one in changes if one.artifact == told.artifact and one.entry == told.entry]
    first = proposing[0]
    head: dict[str, Json] = {
        "summary": f"{source}.{name} has several meanings, each under a name of its own",
        "tags": ["conflict"],
        "sl_refs": [f"{told.artifact.connection_id}/{source}.{one.name}" for one in told.meanings],
        "connections": [told.artifact.connection_id],
    }
    sections = [_told(source, one) for one in told.meanings]
    body = "\n\n".join([f"# {source}.{name}: which one?\n\n{intro}", *sections]) + "\n"
    for entry, value in page_entries(head, body).items():
        yield Change(
            artifact=page_artifact(page_key(told)),
            entry=entry,
            value=value,
            source=first.source,
            by=first.by,
            unit=first.unit,
            evidence=evidence,
        )


def _told(source: str, meaning: Meaning) -> str:
    """Write a meaning as a section of its own, so that several sources can each keep theirs on one page."""
    where = f" where `{meaning.value['filter']}`" if meaning.value.get("filter") else ""
    return (
        f"## {source}.{meaning.name}\n\n"
        f"`{source}.{meaning.name}`, said by {meaning.said_by}: `{meaning.value.get('expr')}`{where}"
    )
