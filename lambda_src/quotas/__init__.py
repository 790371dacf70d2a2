"""Quotas and rate limits: messages, concurrent turns, tokens and files per user, and tokens per stage."""
