"""The Store contract in memory: one process, nothing kept."""
