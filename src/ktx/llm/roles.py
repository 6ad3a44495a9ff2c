"""From a job to the models that may do it, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ktx.errors import ConfigError
from ktx.llm.models import ROLES, BackendName, Role

PURPOSE: Final[Mapping[Role, str]] = {
    "default": "every job without a model of its own",
    "triage": "quick decisions about what is worth reading",
    "candidateExtraction": "descriptions and facts from one document",
    "curator": "writing sources, measures and pages",
    "reconcile": "settling contradictions between proposals",
    "repair": "fixing malformed output",
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One model on one backend."""

    backend: BackendName
    model: str

    def __str__(self) -> str:
        """Render as `backend/model`."""
        return f"{self.backend}/{self.model}"


@dataclass(frozen=True, kw_only=True)
class RolePlan:
    """Which models do which job. `own` names the roles with models of their own; the rest use those of `default`."""

    chains: Mapping[Role, tuple[Choice, ...]]
    own: frozenset[Role]

    def chain(self, role: Role) -> tuple[Choice, ...]:
        """Give the models for a role, the preferred one first.

        Raises:
            ConfigError: there is none.
        """
        chain = self.chains.get(role, ())
        if not chain:
            raise ConfigError(
                f"No model is configured for the role `{role}`.",
                hint="Run `ktx setup`, or set `llm.models.default` in ktx.yaml.",
            )
        return chain

    def why(self, role: Role) -> str:
        """Say where a role's model comes from."""
        if role in self.own:
            return f"llm.models.{role}"
        return "llm.models.default" if self.chains.get(role) else "not configured"

    def distinct(self) -> tuple[Choice, ...]:
        """Give every model in use, each once, in the order of the roles."""
        return tuple(dict.fromkeys(choice for role in ROLES for choice in self.chains.get(role, ())))


def plan_roles(
    backend: BackendName, models: Mapping[Role, Sequence[tuple[BackendName | None, str]]]
) -> RolePlan:
    """Give every role its chain: its own models, or those of `default`. A model without a backend is on `backend`.

    >>> plan = plan_roles("anthropic", {"default": [(None, "a"), ("gateway", "b")], "triage": [(None, "c")]})
    >>> [str(choice) for choice in plan.chain("curator")], str(plan.chain("triage")[0])
    (['anthropic/a', 'gateway/b'], 'anthropic/c')
    """
    written: dict[Role, tuple[Choice, ...]] = {
        role: tuple(Choice(backend=named or backend, model=model) for named, model in models.get(role, ()))
        for role in ROLES
    }
    default = written["default"]
    return RolePlan(
        chains={role: written[role] or default for role in ROLES},
        own=frozenset(role for role in ROLES if written[role]),
    )
