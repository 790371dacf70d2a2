"""Turns: one user input and everything it sets off. Lease, journal, stop, resume, duplicates. Knows no model."""
