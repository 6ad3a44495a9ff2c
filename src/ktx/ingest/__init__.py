"""From evidence to one reviewed git commit."""
