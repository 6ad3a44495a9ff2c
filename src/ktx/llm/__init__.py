"""The LLM runtime: text, extraction and tool loops by role, on any backend."""
