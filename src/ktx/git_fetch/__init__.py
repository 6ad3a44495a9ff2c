"""Other people's git repositories: a branch fetched into a cache and laid out as a folder of plain files."""
