"""On a laptop, never in the zip: the Lambda path, a local AWS and one local user. `make dev` starts it."""
