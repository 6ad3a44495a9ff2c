"""Whether search by meaning is on."""

from collections.abc import Iterator

from ktx.status.check import Check, Scene


def check_embeddings(scene: Scene) -> Iterator[Check]:
    """Say what search uses."""
    backend = scene.config.ingest.embeddings.backend
    if backend == "none":
        yield Check(id="embeddings", status="skip", detail="none; search goes by words")
        return
    yield Check(
        id="embeddings",
        status="warn",
        detail=f"`{backend}` is configured, and this version of ktx searches by words only",
        fix="Nothing to do: the setting can stay.",
    )
