"""What a failed call to AWS becomes: a sentence for the user, the cause in the log."""

import logging

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from lambda_src.errors import UnavailableError
from lambda_src.store.aws_calls import FAILED, Calls

CODE = "ProvisionedThroughputExceededException"
ENDPOINT = "https://dynamodb.invalid"


def throttled(**_: object) -> dict[str, object]:
    """A client's method."""
    raise ClientError({"Error": {"Code": CODE, "Message": "Slow down"}}, "PutItem")


def unreachable(**_: object) -> dict[str, object]:
    """A client's method."""
    raise EndpointConnectionError(endpoint_url=ENDPOINT)


async def test_a_users_message_names_no_class_and_the_log_names_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(UnavailableError) as raised:
        await Calls().run(throttled)
    assert str(raised.value) == FAILED
    assert CODE not in FAILED
    assert [(record.msg, vars(record)["error_code"]) for record in caplog.records] == [("store_failed", CODE)]


async def test_a_service_that_is_not_reached_is_the_same_message() -> None:
    with pytest.raises(UnavailableError) as raised:
        await Calls().run(unreachable)
    assert str(raised.value) == FAILED
