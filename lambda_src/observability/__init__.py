"""Structured logs, the metrics made from them, and log lines for exceptions."""
