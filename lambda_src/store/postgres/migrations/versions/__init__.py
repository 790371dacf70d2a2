"""Revisions, oldest first by name. Forward only: a release that is rolled back reads the newer schema."""
