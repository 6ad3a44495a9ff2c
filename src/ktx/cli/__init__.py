"""The command line: parse and render only."""
