"""The function URL of the emulator: HTTP in front, Lambda events behind it, CORS, bandwidth."""
