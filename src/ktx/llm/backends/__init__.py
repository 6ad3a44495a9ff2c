"""One file per backend: how to reach a model and how to speak to it."""
