"""Alarms, dashboard and the metrics they read."""
