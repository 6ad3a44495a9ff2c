"""One file per database: how to connect, what to ask its catalog, how to keep it read-only."""
