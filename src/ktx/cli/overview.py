"""The one screen that bare `ktx` and `ktx --help` show. Imports nothing but the table of commands."""

from ktx.cli.table import SECTIONS

_INTRODUCTION = """\
ktx - the context layer for data agents

It reads your warehouse, writes what it learns as files that you review in git (semantic sources in YAML, wiki pages in
Markdown), and turns questions against those files into SQL whose numbers are right.

First steps:
  ktx demo                  a project with real data to play with; nothing to configure
  ktx admin init            a project of your own: then name your warehouse in ktx.yaml
  ktx ingest                read the warehouse and write its context layer
  ktx sl                    what can be asked; `ktx sl query --measure M --dimension D` asks it
  ktx setup --agents        the same for your agent: Claude Code, Codex, Cursor, …
"""
_OPTIONS = """\
Options:
  --project-dir DIR         the project (else KTX_PROJECT_DIR, else the nearest ktx.yaml upwards, else here)
  --debug                   show tracebacks and developer logs
  --version, -V             print the version
  --help, -h                this page; `ktx COMMAND --help` tells more
"""


def _render() -> str:
    parts = [_INTRODUCTION]
    for title, rows in SECTIONS.items():
        if rows:
            lines = (f"  {name:<24}  {line}\n" for name, (_, _, line) in rows.items())
            parts.append(f"{title}:\n" + "".join(lines))
    return "\n".join([*parts, _OPTIONS])


OVERVIEW = _render()
