"""Installing ktx into agents: which programs there are, what each wants where, and how to put it there and take it away."""
