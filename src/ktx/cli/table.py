"""The commands: one row each, with its place in the help. A command's module is imported when it is called.

To add a command, write `ktx/cli/commands/<name>.py` with a click command or group, and one row here. This module imports
nothing, so that the help costs nothing.
"""

Row = tuple[str, str, str]
"""Module, attribute in it, one line of help."""

START: dict[str, Row] = {
    "demo": ("ktx.cli.commands.demo", "demo", "make a demo project on real data and run the main job"),
    "setup": (
        "ktx.cli.commands.setup",
        "setup",
        "choose who answers for language models; install ktx into agents",
    ),
    "status": ("ktx.cli.commands.status", "status", "what works, what does not, and what to do next"),
}
CONTEXT: dict[str, Row] = {
    "ingest": (
        "ktx.cli.commands.ingest",
        "ingest",
        "read databases, the tools around them, and what people say",
    ),
    "runs": ("ktx.cli.commands.runs", "runs", "list the ingests of context sources, and show one in full"),
    "diff": ("ktx.cli.commands.diff", "diff", "show what a run or a commit changes, metric values included"),
    "review": ("ktx.cli.commands.review", "review", "decide about joins that a scan is not sure of"),
    "scan": ("ktx.cli.commands.scan", "scan", "explain what the last scan found, and why"),
    "check": ("ktx.cli.commands.check", "check", "name what no longer fits the warehouse; for CI"),
    "connection": ("ktx.cli.commands.connection", "connection", "list and test the connections of ktx.yaml"),
}
ASK: dict[str, Row] = {
    "sl": ("ktx.cli.commands.sl", "sl", "find, read, check and query semantic sources"),
    "context": ("ktx.cli.commands.context", "context", "gather what there is to know for a question"),
    "sql": ("ktx.cli.commands.sql", "sql", "run one read-only SQL statement"),
    "wiki": ("ktx.cli.commands.wiki", "wiki", "find and read wiki pages"),
}
SERVE: dict[str, Row] = {
    "mcp": ("ktx.cli.commands.mcp", "mcp", "serve the context to agents over MCP"),
}
MODELS: dict[str, Row] = {
    "doctor": (
        "ktx.cli.commands.doctor",
        "doctor",
        "every check with its detail and its fix, models tried live",
    ),
    "llm": ("ktx.cli.commands.llm", "llm", "show, try and account for language models"),
}
MORE: dict[str, Row] = {
    "admin": (
        "ktx.cli.commands.admin",
        "admin",
        "make a project, print the schema of ktx.yaml, rebuild the search index",
    ),
    "completion": (
        "ktx.cli.commands.completion",
        "completion",
        "print a completion script for bash, zsh or fish",
    ),
}

SECTIONS: dict[str, dict[str, Row]] = {
    "Start": START,
    "Build context": CONTEXT,
    "Ask": ASK,
    "Serve": SERVE,
    "Language models": MODELS,
    "More": MORE,
}
COMMANDS: dict[str, Row] = {name: row for section in SECTIONS.values() for name, row in section.items()}
