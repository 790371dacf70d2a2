"""Whole deployments in one process, on one virtual clock, from one seed: docs/explanation/simulation.md."""
