"""Development tools, never in the zip: `make dev`, the Lambda emulator, a local AWS, verification and test fixtures."""
