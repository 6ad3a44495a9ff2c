"""ktx: the context layer between a warehouse and the agents that ask it questions."""
