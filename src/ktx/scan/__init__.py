"""From a warehouse to its catalog, profiles, relationships and manifest."""
