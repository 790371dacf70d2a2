"""Pinned uploads: a file that is replaced after its check is not kept."""

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from chatkit.types import Attachment, AttachmentCreateParams

from lambda_src.attachments.file_types import FileLimits
from lambda_src.attachments.s3_files import SIGNING_CONFIG, S3AttachmentStore
from lambda_src.context import Turn, User
from lambda_src.errors import ConflictError
from lambda_src.runs.hooks import Hooks, Screening, UploadedFile
from lambda_src.store.aws_calls import Calls
from tests.apps.chat import message
from tests.apps.full import ANN, PNG, FullApp, attached, full_app_on_moto, thread_of
from tests.store.tables import Aws

EVIL = PNG[:-4] + b"evil"  # same size, and an image by its first bytes
IN_A_TURN = replace(ANN, turn=Turn("turn-0123456789ab"))


@pytest.fixture
def full_app() -> Iterator[FullApp]:
    with full_app_on_moto() as full_app:
        yield full_app


async def test_a_file_replaced_during_its_scan_is_not_kept(full_app: FullApp) -> None:
    def check_file(file: UploadedFile, user: User) -> None:
        full_app.upload(file_id, EVIL)

    chat = full_app.chat(screening=Screening(lambda: Hooks(check_file=check_file)))
    file_id = await attached(chat, full_app)
    answer = await chat("threads.create", input=message("look", attachments=[file_id]))
    assert (answer.status, answer.json["error"]) == (409, "conflict")
    assert "was replaced after it was checked. Attach it again." in answer.json["message"]
    assert await full_app.stored_lines() == []
    assert full_app.aws.objects(full_app.bucket) == [f"pending/ann/{file_id}"]


async def test_a_file_replaced_before_its_scan_is_not_scanned(
    full_app: FullApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[bytes] = []
    verify = S3AttachmentStore.verify

    async def verify_then_replace(self: S3AttachmentStore, attachment: Attachment, context: object) -> None:
        await verify(self, attachment, context)  # type: ignore[arg-type]  # passed on unchanged
        full_app.upload(attachment.id, EVIL)

    chat = full_app.chat(screening=Screening(lambda: Hooks(check_file=lambda file, _: scanned.append(file.data))))
    file_id = await attached(chat, full_app)
    monkeypatch.setattr(S3AttachmentStore, "verify", verify_then_replace)
    answer = await chat("threads.create", input=message("look", attachments=[file_id]))
    assert (answer.status, scanned) == (409, [])


async def test_a_kept_file_is_never_copied_again(full_app: FullApp) -> None:
    """A later message with the same file uses the version that was checked, whatever is in pending/ by then."""
    chat = full_app.chat()
    file_id = await attached(chat, full_app)
    thread_id = thread_of(await chat("threads.create", input=message("look", attachments=[file_id])))
    full_app.upload(file_id, EVIL)
    again = await chat("threads.add_user_message", thread_id=thread_id, input=message("x", attachments=[file_id]))
    assert again.status == 200
    stored = full_app.aws.s3.get_object(Bucket=full_app.bucket, Key=f"kept/ann/{file_id}/file")
    assert stored["Body"].read() == PNG


@pytest.fixture
def aws(ministack_aws: Aws) -> Aws:
    return ministack_aws


@pytest.mark.parametrize("upload", [PNG, EVIL, None], ids=["unchanged", "replaced", "removed"])
async def test_with_conditional_copies_s3_keeps_only_the_checked_version(aws: Aws, upload: bytes | None) -> None:
    bucket = aws.bucket()
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=aws.s3.meta.endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=SIGNING_CONFIG,
    )
    files = S3AttachmentStore(client, bucket, calls=Calls(), limits=FileLimits(), clock=lambda: 1_700_000_000 * 10**9)
    params = AttachmentCreateParams(name="a.png", size=len(PNG), mime_type="image/png")
    picture = await files.create_attachment(params, IN_A_TURN)
    pending = f"pending/ann/{picture.id}"
    aws.s3.put_object(Bucket=bucket, Key=pending, Body=PNG)
    await files.verify(picture, IN_A_TURN)
    aws.s3.delete_object(Bucket=bucket, Key=pending)
    if upload is not None:
        aws.s3.put_object(Bucket=bucket, Key=pending, Body=upload)
    if upload == PNG:
        await files.bind(picture, IN_A_TURN)
        assert await files.read(picture.id, IN_A_TURN, max_bytes=1_000) == PNG
        return
    with pytest.raises(ConflictError, match="Attach it again"):
        await files.bind(picture, IN_A_TURN)
    assert f"kept/ann/{picture.id}/file" not in aws.objects(bucket)
