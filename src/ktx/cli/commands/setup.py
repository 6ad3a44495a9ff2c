"""`ktx setup`: answers become ktx.yaml, tried live. Asks on a terminal, or takes everything from options."""

import functools
from pathlib import Path

import anyio
import click

from ktx.cli import ask
from ktx.cli.agents import agents_options, run_agents, take_options
from ktx.cli.options import json_option, project_dir_option
from ktx.cli.render.data import write_json
from ktx.cli.render.narrate import say
from ktx.cli.render.progress import say_event
from ktx.errors import UsageError
from ktx.setup.steps.models import (
    ABOUT,
    CHOICES,
    Chosen,
    ModelAnswers,
    ModelsDone,
    file_reference,
    set_up_models,
    store_secret,
)

_NO_INPUT = (
    "Name what to set up: ktx setup --llm-backend anthropic|vertex|gateway|claude-code|codex|none --no-input"
)


@click.command()
@click.option("--no-input", is_flag=True, help="Never ask; take everything from options.")
@click.option("--llm-backend", type=click.Choice(CHOICES), help="Who answers when ktx asks a language model.")
@click.option("--llm-model", help="One model for every role, instead of the backend's own set.")
@click.option("--anthropic-api-key-env", metavar="NAME", help="Environment variable with the key.")
@click.option("--anthropic-api-key-file", type=click.Path(path_type=Path), help="File with the key.")
@click.option("--anthropic-base-url", help="Address, if not Anthropic's own.")
@click.option("--vertex-project", help="Google Cloud project; else the credentials' own.")
@click.option("--vertex-location", help="Region such as us-east5, or global.")
@click.option("--gateway-base-url", help="The gateway's Anthropic-compatible address.")
@click.option("--gateway-api-key-env", metavar="NAME", help="Environment variable with the gateway's key.")
@click.option("--gateway-api-key-file", type=click.Path(path_type=Path), help="File with the gateway's key.")
@agents_options
@project_dir_option
@json_option
def setup(*, project_dir: Path, no_input: bool, as_json: bool, **options: object) -> int:
    """Set up this project: who answers when ktx asks a language model, or, with `--agents`, which agents know ktx.

    \b
    ktx setup --llm-backend anthropic --no-input
    ktx setup --agents --target claude-code --target codex --no-input
    ktx setup --agents --remove

    Writes the backend's models for all six roles into ktx.yaml, keeps everything else there, and tries the credential and
    each model once. Exits with 1 when something does not answer yet; the file is written all the same.
    """
    about_agents = take_options(options)
    backend = options["llm_backend"]
    if about_agents:
        if backend is not None:
            raise UsageError("`--agents` and `--llm-backend` are two steps.", hint="Run one after the other.")
        return run_agents(project_dir, about_agents, is_asking=not no_input and not as_json, as_json=as_json)
    if backend is None and no_input:
        raise UsageError("There is nothing to set up without input.", hint=_NO_INPUT)
    if backend is None:
        ask.ensure_terminal(_NO_INPUT)
        answers = _asked(project_dir)
    else:
        answers = _from_options(project_dir, _chosen(backend), options)
    done = anyio.run(functools.partial(set_up_models, project_dir, answers, emit=say_event))
    if as_json:
        write_json(_plain(done, answers))
    else:
        _report(project_dir, answers, done)
    return 0 if done.is_ready else 1


def _chosen(text: object) -> Chosen:
    for choice in CHOICES:
        if choice == text:
            return choice
    raise UsageError(f"There is no backend `{text}`.", hint=f"Backends: {', '.join(CHOICES)}.")


def _from_options(root: Path, backend: Chosen, options: dict[str, object]) -> ModelAnswers:
    def given(name: str) -> str | None:
        value = options[name]
        return None if value is None else str(value)

    def key(prefix: str) -> str | None:
        variable, path = given(f"{prefix}_api_key_env"), options[f"{prefix}_api_key_file"]
        if variable and path:
            raise UsageError(f"`--{prefix}-api-key-env` and `--{prefix}-api-key-file` exclude each other.")
        if variable:
            return f"env:{variable}"
        return file_reference(root, path, Path.cwd()) if isinstance(path, Path) else None

    foreign = sorted(
        f"--{name.replace('_', '-')}"
        for name, value in options.items()
        if value is not None
        and name.startswith(("anthropic_", "vertex_", "gateway_"))
        and not name.startswith(backend)
    )
    if foreign:
        raise UsageError(f"`{foreign[0]}` does not belong to the backend `{backend}`.")
    return ModelAnswers(
        backend=backend,
        api_key=key(backend) if backend in ("anthropic", "gateway") else None,
        base_url=given(f"{backend}_base_url") if backend in ("anthropic", "gateway") else None,
        project=given("vertex_project"),
        location=given("vertex_location"),
        model=given("llm_model"),
    )


def _asked(root: Path) -> ModelAnswers:
    say(
        "ktx asks a language model to describe tables and to work on the context layer. Everything else needs none."
    )
    backend = _chosen(ask.choose("Who should answer?", [(choice, ABOUT[choice]) for choice in CHOICES]))
    match backend:
        case "anthropic":
            return ModelAnswers(backend=backend, api_key=_asked_key(root, backend, "ANTHROPIC_API_KEY"))
        case "gateway":
            base_url = ask.ask_text("The gateway's Anthropic-compatible address:", default="https://")
            return ModelAnswers(
                backend=backend, base_url=base_url, api_key=_asked_key(root, backend, "GATEWAY_API_KEY")
            )
        case "vertex":
            project = ask.ask_text("Google Cloud project (empty: the credentials' own):")
            location = ask.ask_text("Location:", default="us-east5")
            return ModelAnswers(backend=backend, project=project or None, location=location)
        case "claude-code" | "codex" | "none":
            return ModelAnswers(backend=backend)


def _asked_key(root: Path, backend: Chosen, variable: str) -> str:
    how = ask.choose(
        "Where is the key?",
        [
            ("env", "in an environment variable"),
            ("paste", "I paste it; it goes to .ktx/secrets/, which git never sees"),
            ("file", "in a file"),
        ],
    )
    if how == "env":
        return f"env:{ask.ask_text('Variable:', default=variable)}"
    if how == "file":
        return file_reference(root, Path(ask.ask_text("File:")), Path.cwd())
    return store_secret(root, f"{backend}-api-key", ask.ask_secret("Key:"))


def _report(root: Path, answers: ModelAnswers, done: ModelsDone) -> None:
    if done.is_new_project:
        say(f"A ktx project is ready in {root}.")
    state = "written" if done.is_changed else "unchanged"
    say(f"ktx.yaml: {state} (`llm.provider.backend: {answers.backend}`).")
    for one in done.tried:
        say(f"{'ok  ' if one.is_ok else 'FAIL'}  {one.choice} ({', '.join(one.roles)}): {one.detail}")
        if one.fix and not one.is_ok:
            say(f"      -> {one.fix}")
    for role in done.replaced:
        say(
            f"warning: the model of `{role}` is not available to this account; the role uses that of `default` instead."
        )
    for advice in done.advice:
        say(f"warning: {advice.message}")
        if advice.fix:
            say(f"  -> {advice.fix}")
    if answers.backend == "none":
        say("No model will be asked. Scan, search, queries and serving work without one.")
    elif done.is_ready:
        say(
            "Next: `ktx llm check` tries structured answers and tools as well; `ktx status` says how the project stands."
        )
    else:
        say("Once that is mended, `ktx llm check` looks again.")


def _plain(done: ModelsDone, answers: ModelAnswers) -> dict[str, object]:
    return {
        "backend": answers.backend,
        "ready": done.is_ready,
        "changed": done.is_changed,
        "newProject": done.is_new_project,
        "models": [
            {
                "backend": one.choice.backend,
                "model": one.choice.model,
                "roles": list(one.roles),
                "ok": one.is_ok,
                "detail": one.detail,
                "fix": one.fix,
            }
            for one in done.tried
        ],
        "replaced": list(done.replaced),
        "warnings": [{"code": one.code, "message": one.message, "fix": one.fix} for one in done.advice],
    }
