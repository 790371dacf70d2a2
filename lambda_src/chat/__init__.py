"""The ChatKit server: request validation, responses, assistants, scheduled events."""
