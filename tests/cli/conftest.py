"""Fixtures for tests of the command line."""

from collections.abc import Iterator

import pytest

from tests.store.tables import Aws, moto_aws


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """moto, with AWS credentials in the environment."""
    for name, value in (("DEFAULT_REGION", "us-east-1"), ("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "y")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with moto_aws() as aws:
        yield aws
