"""ChatKit's Store in memory: one process, lost when it exits."""
