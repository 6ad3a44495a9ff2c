"""The one factory of HTTP clients."""
