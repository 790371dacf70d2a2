"""Agent runs: build the input from the thread, run model and tools, and stream the result as ChatKit events."""
