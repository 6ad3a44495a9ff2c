"""The Messages API, reached through Anthropic, Vertex AI or a gateway."""
