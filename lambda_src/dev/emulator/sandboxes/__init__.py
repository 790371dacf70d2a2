"""The sandboxes of the emulator: runtime processes, each with its Runtime API, and their life and death."""
