"""`chat secret` and `chat keys`: the secrets of a stage and of `make dev`, and the keys of your own backend."""
