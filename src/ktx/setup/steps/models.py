"""Setup of language models: from a person's answers to keys of ktx.yaml, tried live, with every warning said."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ktx.config.edit import KeyPath, edit_config
from ktx.errors import ConfigError, ModelError, UsageError
from ktx.events import Emit
from ktx.files import write_text
from ktx.llm.advice import Advice
from ktx.llm.connect import open_runtime, read_advice, read_roles
from ktx.llm.models import BACKENDS, ROLES, BackendName, Role, preset
from ktx.llm.roles import Choice
from ktx.project import CONFIG_NAME, Project, create_project, ensure_state_dir, open_project

Chosen: TypeAlias = BackendName | Literal["none"]
CHOICES: tuple[Chosen, ...] = (*BACKENDS, "none")
ABOUT: Mapping[Chosen, str] = {
    "anthropic": "Anthropic's API, with an API key",
    "vertex": "Claude models on Google's Vertex AI, with Google Cloud credentials",
    "gateway": "an Anthropic-compatible gateway: Vercel AI Gateway, LiteLLM, Ollama, …",
    "claude-code": "your local Claude Code login, through the Claude Agent SDK",
    "codex": "your local Codex login, through the Codex SDK",
    "none": "no language model; everything except prose works without one",
}


@dataclass(frozen=True, kw_only=True)
class ModelAnswers:
    """What a person chose. A key is a reference (`env:NAME`, `file:path`); None leaves what the file has."""

    backend: Chosen
    api_key: str | None = None
    base_url: str | None = None
    project: str | None = None
    location: str | None = None
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What a live probe of one model found."""

    choice: Choice
    roles: tuple[Role, ...]
    is_ok: bool
    detail: str
    fix: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelsDone:
    """What setup did. `replaced` names roles whose preset is not available to this account and that use `default` instead."""

    is_new_project: bool
    is_changed: bool
    tried: tuple[Tried, ...] = ()
    replaced: tuple[Role, ...] = ()
    advice: tuple[Advice, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Tell whether every model in use answered."""
        return all(tried.is_ok for tried in self.tried)


async def set_up_models(root: Path, answers: ModelAnswers, *, emit: Emit) -> ModelsDone:
    """Write the answers into ktx.yaml, making a project where there is none, and try every model once.

    What cannot be reached is told, not undone: the file is right, and `ktx llm check` looks again.

    Raises:
        UsageError: an answer is missing without which nothing can be written.
        ConfigError: ktx.yaml cannot be read or edited.
    """
    is_new = not (root / CONFIG_NAME).exists()
    project = None if is_new else open_project(root)
    ensure_complete(answers, project)
    if project is None:
        project = create_project(root)
    is_changed = edit_config(project.config_file, changes(answers, project))
    project = open_project(root)
    if answers.backend == "none":
        return ModelsDone(is_new_project=is_new, is_changed=is_changed)
    tried = await try_models(project, emit=emit)
    replaced = _unavailable(tried)
    if replaced:
        default = project.config.llm.models.default[0].model
        edit_config(project.config_file, {("llm", "models", role): default for role in replaced})
        project = open_project(root)
        tried = tuple(_without_roles(one, replaced) for one in tried if set(one.roles) - set(replaced))
    return ModelsDone(
        is_new_project=is_new,
        is_changed=is_changed,
        tried=tried,
        replaced=replaced,
        advice=read_advice(project.config.llm),
    )


def ensure_complete(answers: ModelAnswers, project: Project | None) -> None:
    """Check that the answers, with what the file has, name what the backend cannot do without.

    Raises:
        UsageError: something is missing; it is named with its option.
    """
    provider = project.config.llm.provider if project else None
    if answers.backend == "vertex" and not (answers.location or (provider and provider.vertex.location)):
        raise UsageError(
            "The `vertex` backend needs a location.",
            hint="Add `--vertex-location us-east5` (or another region, or `global`).",
        )
    if answers.backend == "gateway" and not (answers.base_url or (provider and provider.gateway.base_url)):
        raise UsageError(
            "The `gateway` backend needs the gateway's address.",
            hint="Add `--gateway-base-url https://…`, its Anthropic-compatible address.",
        )
    if answers.backend == "gateway" and not (answers.api_key or (provider and provider.gateway.api_key)):
        raise UsageError(
            "The `gateway` backend needs a key.",
            hint="Add `--gateway-api-key-env NAME` or `--gateway-api-key-file PATH`.",
        )


def changes(answers: ModelAnswers, project: Project) -> dict[KeyPath, object]:
    """Give the keys to set. Roles that a person edited stay, unless the backend changes or a model is named for all."""
    backend = answers.backend
    found: dict[KeyPath, object] = {("llm", "provider", "backend"): backend}
    if backend == "none":
        return found
    if backend in ("anthropic", "gateway"):
        found |= _given({"api_key": answers.api_key, "base_url": answers.base_url}, backend)
    elif backend == "vertex":
        found |= _given({"project": answers.project, "location": answers.location}, backend)
    wanted = dict.fromkeys(ROLES, answers.model) if answers.model else dict(preset(backend))
    llm = project.config.llm
    keeps = llm.provider.backend == backend and not answers.model
    written = set(read_roles(llm).own) if keeps else set[Role]()
    found |= {("llm", "models", role): wanted[role] for role in ROLES if role not in written}
    return found


def _given(values: Mapping[str, str | None], backend: Chosen) -> dict[KeyPath, object]:
    return {("llm", "provider", backend, key): value for key, value in values.items() if value is not None}


async def try_models(project: Project, *, emit: Emit) -> tuple[Tried, ...]:
    """Probe each distinct model of the roles once, live."""
    plan = read_roles(project.config.llm)
    found: list[Tried] = []
    async with open_runtime(
        project.config.llm, project_dir=project.root, state_dir=ensure_state_dir(project), emit=emit
    ) as runtime:
        for choice in plan.distinct():
            roles: tuple[Role, ...] = tuple(role for role in ROLES if choice in plan.chains.get(role, ()))
            try:
                probe = await runtime.probe(choice)
            except (ModelError, ConfigError) as error:
                found.append(
                    Tried(choice=choice, roles=roles, is_ok=False, detail=error.message, fix=error.hint)
                )
                if isinstance(error, ModelError) and error.kind in ("unknown_model", "forbidden"):
                    continue
                break  # the same would be said of every other model
            else:
                found.append(Tried(choice=choice, roles=roles, is_ok=True, detail=probe.detail))
    return tuple(found)


def _unavailable(tried: tuple[Tried, ...]) -> tuple[Role, ...]:
    """Name the roles whose model this account lacks while the default one answers."""
    default_works = any(one.is_ok and "default" in one.roles for one in tried)
    if not default_works:
        return ()
    lacking: tuple[Role, ...] = tuple(role for one in tried if not one.is_ok for role in one.roles)
    return lacking


def _without_roles(one: Tried, replaced: tuple[Role, ...]) -> Tried:
    kept: tuple[Role, ...] = tuple(role for role in one.roles if role not in replaced)
    return Tried(choice=one.choice, roles=kept, is_ok=one.is_ok, detail=one.detail, fix=one.fix)


def store_secret(root: Path, name: str, secret: str) -> str:
    """Keep a pasted secret in `.ktx/secrets/`, readable by its owner only, and give the reference to it.

    Raises:
        UsageError: there is nothing in it.
    """
    if not secret.strip():
        raise UsageError("The key is empty.", hint="Paste it, or name an environment variable that holds it.")
    folder = root / ".ktx" / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_text(root / ".ktx" / ".gitignore", "*\n!.gitignore\n")
    path = folder / name
    write_text(path, secret.strip() + "\n", mode=0o600)
    path.chmod(0o600)
    return f"file:.ktx/secrets/{name}"


def file_reference(root: Path, path: Path, cwd: Path) -> str:
    """Give the reference to a key file: relative inside the project, absolute elsewhere."""
    whole = (cwd / path.expanduser()).resolve()
    inside = whole.is_relative_to(root.resolve())
    return f"file:{whole.relative_to(root.resolve()).as_posix() if inside else whole}"
