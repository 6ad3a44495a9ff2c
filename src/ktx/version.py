"""The version, as a constant, so that `ktx --version` reads no package metadata."""

__version__ = "0.1.0"
