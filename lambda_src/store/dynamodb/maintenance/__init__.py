"""Maintenance of the table by operators and the hourly event: sweep, export, erase, inspect, account linking."""
