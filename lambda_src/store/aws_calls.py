"""Runs boto3 calls from asyncio, with retries and translated errors. Knows no key, no row, no service.

boto3 blocks, so each call runs on an executor's thread. botocore retries throttles, 5xx and broken connections
(CLIENT_CONFIG); conflicting transactions are retried here; an error that persists becomes UnavailableError.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from lambda_src.errors import TooLargeError, UnavailableError

CLIENT_CONFIG = Config(
    connect_timeout=1,  # seconds; within a region, a connection takes milliseconds or fails
    read_timeout=2,  # seconds; DynamoDB responds in about 10 ms, S3 in about 100
    retries={"mode": "standard", "total_max_attempts": 4},  # with 50 % throttles 5 s; "adaptive" took 82 s
    max_pool_connections=50,  # the number of streams per process
)
FAILED = "The service that stores your conversations is not responding. Try again in a moment."
RETRY_BASE_S = 0.02  # doubled each time, with full jitter
RETRY_MAX_S = 0.5

_CONFLICTS = frozenset({"TransactionConflictException", "TransactionConflict", "TransactionInProgressException"})
_THROTTLES = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})  # reasons inside a cancelled transaction
_MISSING = frozenset({"NoSuchKey", "404"})
_CHANGED = "PreconditionFailed"  # of If-Match
_TOO_LARGE = ("Item size", "item size")  # DynamoDB's own words in a ValidationException

log = logging.getLogger(__name__)


class ConditionFailedError(Exception):
    """The condition of a write was false. `old` is the existing row, {} if there is none."""

    def __init__(self, old: Mapping[str, Any]) -> None:
        self.old = old
        super().__init__("the condition of a write failed")


class MissingObjectError(Exception):
    """The bucket has no such object."""


class ChangedObjectError(Exception):
    """The object is not the requested version."""


async def pause(attempt: int) -> None:
    """Wait before the next attempt, with full jitter, so that requests that collided once do not collide again."""
    await asyncio.sleep(random.uniform(0, min(RETRY_MAX_S, RETRY_BASE_S * 2**attempt)))  # noqa: S311 - jitter, no secret


class Calls:
    """Runs methods of boto3 clients on `executor` (None = the event loop's default)."""

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor

    async def run(self, method: Callable[..., Mapping[str, Any]], **params: object) -> Mapping[str, Any]:
        """The response of `method(**params)`.

        ConditionFailedError, MissingObjectError, ChangedObjectError, TooLargeError or UnavailableError if the service
        fails; for a malformed request, botocore's own exception.
        """
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            try:
                return await loop.run_in_executor(self._executor, partial(method, **params))
            except ParamValidationError:
                raise
            except BotoCoreError as fault:
                raise UnavailableError(FAILED) from fault
            except ClientError as fault:
                if not _conflict(fault):
                    raise _translated(fault) from fault
            await pause(attempt)
            attempt += 1


def _reasons(fault: ClientError) -> list[Mapping[str, Any]]:
    return list(fault.response.get("CancellationReasons", []))


def _conflict(fault: ClientError) -> bool:
    """Whether another transaction conflicted or a row was throttled: a retry succeeds in both cases."""
    if fault.response["Error"]["Code"] in _CONFLICTS:
        return True
    codes = {reason.get("Code") for reason in _reasons(fault)}
    return bool(codes & (_CONFLICTS | _THROTTLES)) and "ConditionalCheckFailed" not in codes


def _translated(fault: ClientError) -> Exception:
    code = fault.response["Error"]["Code"]
    if code == "ConditionalCheckFailedException":
        response: Mapping[str, Any] = fault.response  # DynamoDB adds the row, which botocore's type lacks
        return ConditionFailedError(response.get("Item", {}))
    for reason in _reasons(fault):
        if reason.get("Code") == "ConditionalCheckFailed":
            return ConditionFailedError(reason.get("Item", {}))
    if code in _MISSING:
        return MissingObjectError("the bucket has no such object")
    if code == _CHANGED:
        return ChangedObjectError("the object has changed")
    if code == "ValidationException":
        message = fault.response["Error"].get("Message", "")
        if any(words in message for words in _TOO_LARGE):
            return TooLargeError("This is too large for a row of the table.")
        return fault
    log.warning("store_failed", extra={"error_code": code})  # operators see the code, users do not
    return UnavailableError(FAILED)
