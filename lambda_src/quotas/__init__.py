"""What users may spend: messages, turns at a time, tokens and files."""
