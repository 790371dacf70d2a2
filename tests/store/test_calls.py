"""Failed AWS calls of the stores: a plain message for the user, the cause in the log."""

import logging

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from lambda_src.errors import UnavailableError
from lambda_src.store.aws_calls import FAILED, Calls

CODE = "ProvisionedThroughputExceededException"
ENDPOINT = "https://dynamodb.invalid"


def throttled(**_: object) -> dict[str, object]:
    """A client method that is throttled."""
    raise ClientError({"Error": {"Code": CODE, "Message": "Slow down"}}, "PutItem")


def unreachable(**_: object) -> dict[str, object]:
    """A client method whose service is unreachable."""
    raise EndpointConnectionError(endpoint_url=ENDPOINT)


async def test_the_user_gets_a_plain_message_and_the_log_gets_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(UnavailableError) as raised:
        await Calls().run(throttled)
    assert str(raised.value) == FAILED
    assert CODE not in FAILED
    assert [(record.msg, vars(record)["error_code"]) for record in caplog.records] == [("store_failed", CODE)]


async def test_an_unreachable_service_gives_the_same_message() -> None:
    with pytest.raises(UnavailableError) as raised:
        await Calls().run(unreachable)
    assert str(raised.value) == FAILED
