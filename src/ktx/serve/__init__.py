"""One function per thing that a person or an agent may ask."""
