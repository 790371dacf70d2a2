"""The model that answers, named here and nowhere else. `CHAT_MODELS` overrides it for a stage: docs/how-to/models.md."""

MODEL = "gpt-6-luna"
