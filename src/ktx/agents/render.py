"""The texts of skills, in the form that each program reads, and the mark by which ktx knows its own files again."""

import io
import re
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ktx.agents.target import Form, Skill
from ktx.files import digest

_MARK = re.compile(
    r"\n<!-- ktx wrote this file \((?P<digest>[0-9a-f]{16})\)[^\n]*-->\n\Z",
)
_MARK_TEXT = (
    "\n<!-- ktx wrote this file ({digest}) and keeps it current with `ktx setup --agents`; a file that you change "
    "is yours and is left alone. -->\n"
)
_MEMORY = "{memory}"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class SkillText:
    """A skill as it stands in the package: a name, a line that says when to use it, and the text."""

    name: str
    description: str
    body: str


@cache
def skill_text(skill: Skill) -> SkillText:
    """Read a skill of the package."""
    text = files("ktx.agents").joinpath("skills", f"{skill}.md").read_text(encoding="utf-8")
    head, _, body = text.partition("\n---\n")
    fields = dict(line.split(": ", 1) for line in head.removeprefix("---\n").splitlines())
    return SkillText(name=fields["name"], description=fields["description"], body=body.strip())


def render_skill(skill: Skill, form: Form, *, where: str, has_memory: bool = False) -> bytes:
    """Give the content of a skill's file; `where` is the sentence that says which project is meant.

    Lines that begin with `{memory}` are for projects that can remember texts.
    """
    text = skill_text(skill)
    body = skill_body(text, has_memory=has_memory).replace("{where}", where)
    match form:
        case "skill":
            head = f"---\nname: {text.name}\ndescription: {text.description}\n---\n\n"
        case "cursor-rule":
            head = f"---\ndescription: {text.description}\nalwaysApply: false\n---\n\n"
        case "command":
            head = f"---\ndescription: {text.description}\n---\n\n"
            body += "\n\nWhat is asked now: $ARGUMENTS"
        case "rule":
            head = ""
        case "archive":
            plain = render_skill(skill, "skill", where=where, has_memory=has_memory)
            return _archive(text.name, plain)
    return marked(f"{head}{body}\n").encode("utf-8")


def skill_body(text: SkillText, *, has_memory: bool) -> str:
    """Give the text for a project that can, or cannot, remember texts."""
    lines = text.body.splitlines()
    kept = [line for line in lines if has_memory or not line.startswith(_MEMORY)]
    return "\n".join(line.removeprefix(_MEMORY) for line in kept)


def marked(text: str) -> str:
    """Give a text with the mark of ktx at its end."""
    return text + _MARK_TEXT.format(digest=digest(text)[:16])


def is_own(data: bytes) -> bool:
    """Tell whether ktx, in any version, wrote exactly this file."""
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return False
    found = _MARK.search(text)
    return found is not None and digest(text[: found.start()])[:16] == found["digest"]


def _archive(name: str, content: bytes) -> bytes:
    """Pack a skill as a zip file whose bytes depend on the content alone."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        entry = zipfile.ZipInfo(f"{name}/SKILL.md", date_time=_EPOCH)
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, content)
    return stream.getvalue()
