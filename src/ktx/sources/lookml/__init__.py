"""LookML: views, explores and measures from a repository."""
