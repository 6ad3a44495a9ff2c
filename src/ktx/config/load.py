"""From the file ktx.yaml to a checked value with findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ktx.config.check import check_blocks, check_ids
from ktx.config.document import parse_document
from ktx.config.explain import explain
from ktx.config.model import KtxConfig
from ktx.errors import ConfigError
from ktx.files import read_text
from ktx.findings import Finding, has_errors


@dataclass(frozen=True, kw_only=True)
class LoadedConfig:
    """A valid configuration and what is to be said about it: warnings and notes, never errors."""

    config: KtxConfig
    findings: tuple[Finding, ...] = ()


def parse_config(text: str, *, file: str = "ktx.yaml") -> tuple[KtxConfig | None, tuple[Finding, ...]]:
    """Parse the text of a ktx.yaml. The configuration is None exactly when a finding is an error."""
    document = parse_document(text, file=file)
    if isinstance(document, Finding):
        return None, (document,)
    bad_ids = check_ids(document)
    try:
        config = KtxConfig.model_validate(document.data)
        findings = (*bad_ids, *check_blocks(config, document))
    except ValidationError as error:
        spots = {finding.where for finding in bad_ids}
        others = (finding for finding in explain(error, document) if finding.where not in spots)
        return None, tuple(sorted((*bad_ids, *others), key=lambda finding: finding.where.line or 0))
    return (None if has_errors(findings) else config), findings


def load_config(path: Path) -> LoadedConfig:
    """Read and check a ktx.yaml.

    Raises:
        ConfigError: the file cannot be read, or holds errors; all findings are attached.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"`{path}` is not UTF-8 text.", hint="Save it as UTF-8.") from error
    config, findings = parse_config(text, file=path.name)
    if config is None:
        raise ConfigError(
            f"`{path}` has {_counted(findings)}.",
            hint="Nothing was done. `ktx admin schema` describes every key.",
            findings=findings,
        )
    return LoadedConfig(config=config, findings=findings)


def _counted(findings: Sequence[Finding]) -> str:
    count = sum(finding.level == "error" for finding in findings)
    return "an error" if count == 1 else f"{count} errors"
