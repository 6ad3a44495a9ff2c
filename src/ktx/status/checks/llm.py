"""Whether the configured language model could be asked, as far as this machine can tell."""

from collections.abc import Iterator

from ktx.config import env
from ktx.config.model import LlmConfig
from ktx.config.secrets import SecretRef
from ktx.errors import ConfigError, ModelError
from ktx.llm.connect import check_login, read_advice, read_roles
from ktx.llm.installed import missing_extra
from ktx.status.check import Check, Scene


def check_llm(scene: Scene) -> Iterator[Check]:
    """Look at backend, package, credential, login and settings without effect; no model is asked."""
    llm = scene.config.llm
    backend = llm.provider.backend
    if backend == "none":
        detail = "no language model; scan, search and queries need none"
        yield Check(id="llm", status="skip", detail=detail, fix="`ktx setup --llm-backend …` adds one.")
        return
    extra = missing_extra(backend)
    if extra is not None:
        yield Check(
            id="llm",
            status="fail",
            detail=f"{backend}: its package is not installed",
            fix=f"pip install 'ktx-context[{extra}]'",
        )
        return
    if not llm.models.default:
        yield Check(
            id="llm",
            status="fail",
            detail=f"{backend}: `llm.models.default` names no model",
            fix=f"Name one, or let `ktx setup --llm-backend {backend}` write a full set.",
        )
        return
    problem = _missing_access(llm, scene)
    if problem is not None:
        yield Check(id="llm", status="fail", detail=f"{backend}: {problem.message}", fix=problem.hint)
        return
    model = llm.models.default[0].model
    yield Check(id="llm", status="pass", detail=f"{backend}: configured, `{model}` by default")
    yield from _logins(scene)
    for advice in read_advice(llm):
        yield Check(
            id=advice.code, status="warn", detail=advice.message, fix=advice.fix, subject=advice.backend
        )


def _logins(scene: Scene) -> Iterator[Check]:
    """Look whether somebody is logged in, for the backends that use a login of this machine."""
    used = dict.fromkeys(choice.backend for choice in read_roles(scene.config.llm).distinct())
    for backend in used:
        if backend not in ("claude-code", "codex"):
            continue
        if scene.is_fast:
            yield Check(id="llm-login", status="skip", detail="not checked (`--fast`)", subject=backend)
            continue
        try:
            said = check_login(backend, scene.config.llm, project_dir=scene.root)
        except (ModelError, ConfigError) as error:
            yield Check(id="llm-login", status="fail", detail=error.message, fix=error.hint, subject=backend)
        else:
            yield Check(id="llm-login", status="pass", detail=said, subject=backend)


def _missing_access(llm: LlmConfig, scene: Scene) -> ConfigError | None:
    provider = llm.provider
    try:
        match provider.backend:
            case "anthropic":
                key = provider.anthropic.api_key
                if key is None and env.get("ANTHROPIC_API_KEY") is None:
                    return ConfigError(
                        "there is no API key.", hint="Set ANTHROPIC_API_KEY, or `api_key` to a reference."
                    )
                if key is not None:
                    SecretRef.parse(key).reveal(scene.root)
            case "gateway":
                if provider.gateway.base_url is None:
                    return ConfigError(
                        "`llm.provider.gateway.base_url` is missing.", hint="Name the gateway's address."
                    )
                if provider.gateway.api_key is not None:
                    SecretRef.parse(provider.gateway.api_key).reveal(scene.root)
            case "vertex":
                if provider.vertex.location is None:
                    return ConfigError(
                        "`llm.provider.vertex.location` is missing.",
                        hint="Name a region, for instance `us-east5`.",
                    )
            case "claude-code" | "codex" | "none":
                pass
    except ConfigError as error:
        return error
    return None
