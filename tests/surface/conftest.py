"""What the suites of ChatKit's surface share."""

from collections.abc import Iterator

import pytest

from tests.surface.house import House, house_on_moto


@pytest.fixture
def house() -> Iterator[House]:
    """An app with a bucket, everything switched on."""
    with house_on_moto() as house:
        yield house
