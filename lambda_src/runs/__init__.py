"""One run of the agent for one turn: history in, model and tools, ChatKit events out."""
