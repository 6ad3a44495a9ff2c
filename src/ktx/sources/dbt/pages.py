"""Wiki pages that a project gives without a model: its exposures, and docs blocks that no description shows."""

import re
from collections.abc import Callable, Mapping

from ktx.sources.dbt_project.draft import Draft
from ktx.sources.dbt_project.project import DocsBlock, Exposure, Project
from ktx.sources.definition import PageFact

Evidence = Callable[[str], tuple[str, ...]]
_LONGEST_SUMMARY = 200


def pages_of(
    project: Project, drafts: Mapping[str, Draft], metric_homes: Mapping[str, str], evidence: Evidence
) -> tuple[PageFact, ...]:
    """Give the pages of a project; `metric_homes` are the definitions that hold each metric."""
    pages = [_exposure_page(one, project, drafts, metric_homes, evidence) for one in project.exposures]
    pages += [_docs_page(one, evidence) for one in project.docs if not one.is_used and one.text and one.path]
    return tuple(sorted(pages, key=lambda page: page.key))


def _exposure_page(
    one: Exposure,
    project: Project,
    drafts: Mapping[str, Draft],
    metric_homes: Mapping[str, str],
    evidence: Evidence,
) -> PageFact:
    title = one.label or one.name.replace("_", " ")
    facts = [("Kind", one.kind), ("Owner", one.owner), ("Maturity", one.maturity), ("Link", one.url)]
    lines = [f"- {name}: {value}" for name, value in facts if value]
    used: list[str] = []
    rests: list[str] = []
    for id_ in one.depends_on:
        metric = id_.removeprefix("metric ")
        if id_ in drafts:
            used.append(drafts[id_].name)
        elif id_ != metric and metric in metric_homes:
            used.append(f"{metric_homes[metric]}.{metric}")
        else:
            rests.append(project.by_id[id_].label if id_ in project.by_id else id_)
    lines += [f"- Rests on `{{{{{name}}}}}`" for name in sorted(set(used))]
    lines += [f"- Rests on {name}" for name in sorted(set(rests))]
    return PageFact(
        key=_key("exposure", one.name),
        summary=_summary(one.description) or f"{title}: {one.kind or 'a use'} of the data.",
        body="\n\n".join(part for part in (f"# {title}", one.description, "\n".join(lines)) if part) + "\n",
        evidence=evidence(one.path),
        tags=tuple(dict.fromkeys(("exposure", *one.tags))),
        definitions=tuple(sorted(set(used))),
        connections=tuple(
            sorted({drafts[id_].place.target.connection_id for id_ in one.depends_on if id_ in drafts})
        ),
    )


def _docs_page(one: DocsBlock, evidence: Evidence) -> PageFact:
    name = one.name.strip("_")
    title = name.replace("_", " ").strip() or one.name
    heading = "" if one.text.lstrip().startswith("#") else f"# {title[:1].upper()}{title[1:]}\n\n"
    return PageFact(
        key=_key("docs", name),
        summary=_summary(one.text) or title,
        body=f"{heading}{one.text}\n",
        evidence=evidence(one.path),
        tags=("dbt-docs",),
    )


def _key(kind: str, name: str) -> str:
    return f"{kind}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'unnamed'}"


def _summary(text: str) -> str:
    """Give the first sentence of a text, without Markdown's headings."""
    plain = " ".join(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    first = re.split(r"(?<=[.!?])\s", plain.strip(), maxsplit=1)[0].strip()
    return first if len(first) <= _LONGEST_SUMMARY else f"{first[: _LONGEST_SUMMARY - 1].rstrip()}…"
