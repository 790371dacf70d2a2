"""Builds what Lambda runs: the zip, its wheels and the page."""
