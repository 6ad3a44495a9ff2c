"""One local index over everything an agent may look for."""
