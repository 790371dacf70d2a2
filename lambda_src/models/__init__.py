"""Model providers: clients, errors, transcription and the demo model."""
