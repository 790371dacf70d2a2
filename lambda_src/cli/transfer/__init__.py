"""Exports, imports and moves data in and out of a stage."""
