"""Operators' and hourly work on the table: sweeps, export and erase, inspection, account linking."""
