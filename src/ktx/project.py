"""A project folder: where its parts live, and its loaded configuration."""
