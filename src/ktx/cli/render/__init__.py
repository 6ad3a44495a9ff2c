"""Drawing answers on stdout and narration on stderr."""
