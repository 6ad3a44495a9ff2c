"""The doctor knows every extra that can be installed."""

import tomllib
from pathlib import Path

from ktx.status import doctor

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_doctor_looks_for_every_extra_that_brings_a_module_of_its_own() -> None:
    extras = set(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"])
    looked_for = {extra for extra, _ in doctor._EXTRAS}
    assert looked_for <= extras
    assert extras - looked_for <= {"openai-embeddings"}, "it brings the module of `local-embeddings`"
