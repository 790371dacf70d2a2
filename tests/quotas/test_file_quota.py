"""File quotas: the number and bytes of a user's uploads per day, counted before a URL is signed, on both engines."""

import asyncio
from typing import Any

import pytest
from chatkit.types import AttachmentCreateParams

from lambda_src.attachments.file_types import FileLimits
from lambda_src.attachments.s3_files import S3AttachmentStore
from lambda_src.context import RequestContext, User
from lambda_src.errors import QuotaError, RequestError
from lambda_src.quotas.file_quota import GUEST_FILE_BYTES, GUEST_FILES, FileQuota
from lambda_src.store.aws_calls import Calls
from lambda_src.store.counters import MemoryCounters
from tests.quotas.engine import QuotaEngine, settings_with

ANN, BOB = RequestContext(User("ann"), "r"), RequestContext(User("bob"), "r")
GUEST = RequestContext(User("guest", is_guest=True), "r")


def quota(quota_engine: QuotaEngine, *, files: int = 0, file_bytes: int = 0) -> FileQuota:
    """Return a new file quota, like that of another process."""
    settings = settings_with(files_per_day=files, file_bytes_per_day=file_bytes)
    return FileQuota(quota_engine.counters, settings, clock=lambda: quota_engine.local.now)


async def admitted(counted: FileQuota, sizes: list[int], context: RequestContext = ANN) -> int:
    """Try to admit files of these sizes at once; return how many were admitted."""
    results = await asyncio.gather(*(counted.admit(size, context) for size in sizes), return_exceptions=True)
    assert all(result is None or isinstance(result, QuotaError) for result in results)
    return results.count(None)


async def test_of_200_concurrent_files_a_limit_of_50_admits_exactly_50(quota_engine: QuotaEngine) -> None:
    counted = quota(quota_engine, files=50)
    assert await admitted(counted, [1] * 200) == 50
    assert await admitted(counted, [1], BOB) == 1


async def test_bytes_add_up_and_a_smaller_file_may_still_fit(quota_engine: QuotaEngine) -> None:
    counted = quota(quota_engine, file_bytes=1000)
    assert await admitted(counted, [600]) == 1
    assert await admitted(counted, [600]) == 0
    assert await admitted(counted, [400, 1]) == 1


async def test_a_refused_file_does_not_count_toward_the_number(quota_engine: QuotaEngine) -> None:
    counted = quota(quota_engine, files=2, file_bytes=1000)
    assert await admitted(counted, [2000, 2000, 2000]) == 0
    assert await admitted(counted, [10, 10, 10]) == 2


async def test_a_refusal_includes_when_the_quota_resets(quota_engine: QuotaEngine) -> None:
    counted = quota(quota_engine, files=1)
    await counted.admit(1, ANN)
    with pytest.raises(QuotaError, match="midnight UTC") as caught:
        await counted.admit(1, ANN)
    assert caught.value.limit == "files"
    quota_engine.local.later(caught.value.retry_after_s)
    await counted.admit(1, ANN)


async def test_guests_have_a_limit_even_if_users_have_none(quota_engine: QuotaEngine) -> None:
    counted = quota(quota_engine)
    assert await admitted(counted, [1] * 100) == 100
    assert await admitted(counted, [1] * 100, GUEST) == GUEST_FILES
    other = RequestContext(User("other", is_guest=True), "r")
    assert await admitted(quota(quota_engine, files=3), [1] * 100, other) == 3
    third = RequestContext(User("third", is_guest=True), "r")
    assert await admitted(counted, [GUEST_FILE_BYTES, 1], third) == 1


class Signer:
    """A fake S3 client that can only sign URLs."""

    signed = 0

    def generate_presigned_url(self, *_: object, **__: object) -> str:
        self.signed += 1
        return "https://bucket.test/key"


async def test_a_refused_file_is_not_signed_and_an_invalid_file_is_not_counted() -> None:
    signer: Any = Signer()
    counters = MemoryCounters()
    files = S3AttachmentStore(
        signer,
        "bucket",
        calls=Calls(),
        limits=FileLimits(1000, 1000),
        clock=lambda: 0,
        admit=FileQuota(counters, settings_with(files_per_day=1)).admit,
    )
    with pytest.raises(RequestError):
        await files.create_attachment(AttachmentCreateParams(name="a.svg", size=1, mime_type="image/svg+xml"), ANN)
    assert counters.sums.total() == 0
    text = AttachmentCreateParams(name="a.txt", size=1, mime_type="text/plain")
    await files.create_attachment(text, ANN)
    with pytest.raises(QuotaError):
        await files.create_attachment(text, ANN)
    assert signer.signed == 1
