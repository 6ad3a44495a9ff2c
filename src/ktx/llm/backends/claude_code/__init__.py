"""The `claude-code` backend: the Claude Code program, run so that the model reaches ktx's tools and nothing else."""
