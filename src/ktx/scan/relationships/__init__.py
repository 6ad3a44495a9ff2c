"""Keys and references found without declared constraints: names, types, values, and one documented score."""
