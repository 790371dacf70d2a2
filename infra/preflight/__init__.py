"""Checks of account, region and settings before a deployment."""
