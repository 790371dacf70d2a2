"""The default model. The setting `CHAT_MODELS` overrides it for a stage: docs/how-to/models.md."""

MODEL = "gpt-6-luna"
