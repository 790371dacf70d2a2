"""Structured logs, metrics made of them, and log lines for exceptions."""
