"""YOURS, as lambda_src/agent/ is: the tests of your agent. `make test-agent` runs them; no release touches them."""

from lambda_src.sdk.testing import chat

__all__ = ["chat"]
