"""One file per step of the setup."""
