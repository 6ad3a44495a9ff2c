"""The `codex` backend: the Codex program of its SDK, run so that the model reaches ktx's tools and nothing else."""
