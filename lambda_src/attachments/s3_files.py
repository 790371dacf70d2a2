"""ChatKit's AttachmentStore on S3, with uploads in two phases. Knows keys, bytes and presigned URLs; no row, no model.

1. Creating an attachment returns a presigned PUT into pending/. It signs length, type and `If-None-Match: *`, so it
   works once, and only for the announced file. A lifecycle rule deletes files in pending/ after a day.
2. When a message names the attachment, its size and first bytes are checked, and exactly that version (by its ETag) is
   copied to kept/, where only this function can write.

S3 cannot send `X-Content-Type-Options`, so it sends the type that the first bytes proved, and the disposition
`attachment` unless a user opens the file. Before the check it sends a type that browsers do not act on; pictures are
displayed all the same.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from botocore.config import Config
from chatkit.types import (
    Attachment,
    AttachmentCreateParams,
    AttachmentUploadDescriptor,
    FileAttachment,
    ImageAttachment,
)
from pydantic import AnyUrl

from lambda_src.attachments import file_types
from lambda_src.attachments.file_types import FileLimits
from lambda_src.attachments.files import NO_URL, FileMissingError, Files
from lambda_src.context import RequestContext, User
from lambda_src.errors import ConflictError, RequestError
from lambda_src.languages import Sentence
from lambda_src.store import bounds, keys
from lambda_src.store.aws_calls import CLIENT_CONFIG, Calls, ChangedObjectError, MissingObjectError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

UPLOAD_URL_TTL_S = 900  # enough for 20 MB from a phone; the role's credentials last longer
VIEW_URL_TTL_S = 3600  # a page that is open longer gets new URLs when it reloads the thread
UNPROVEN = "application/octet-stream"  # the type of an upload whose bytes have not been checked
PLAIN_TEXT = "text/plain; charset=utf-8"
SIGNING_CONFIG: Config = CLIENT_CONFIG.merge(  # in us-east-1 boto3's default signs neither length nor headers
    Config(signature_version="s3v4", s3={"us_east_1_regional_endpoint": "regional", "addressing_style": "virtual"})
)


Admit = Callable[[int, RequestContext], Awaitable[None]]


class S3AttachmentStore(Files):
    """Files in one bucket, in one folder per user. `client` must be made with SIGNING_CONFIG."""

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        *,
        calls: Calls,
        limits: FileLimits,
        clock: Callable[[], int],
        admit: Admit | None = None,
    ) -> None:
        """`clock` returns nanoseconds since 1970. `admit` counts an announced file, and may refuse it."""
        self._client, self._bucket, self._calls = client, bucket, calls
        self.largest_bytes = max(limits.max_image_bytes, limits.max_file_bytes)
        self._limits, self._clock, self._admit = limits, clock, admit

    def generate_attachment_id(self, mime_type: str, context: RequestContext) -> str:
        """A new id of 128 bits, so the object's key cannot be guessed."""
        return bounds.new_id("attachment", now_ns=self._clock())

    async def create_attachment(self, input: AttachmentCreateParams, context: RequestContext) -> Attachment:
        """An attachment with its upload URL. Raises RequestError, TooLargeError or QuotaError if it is not accepted."""
        attachment = self._announced(input, context)
        if self._admit is not None:
            await self._admit(input.size, context)
        url = self._client.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self._bucket,
                "Key": _pending(attachment.id, context),
                "ContentType": attachment.mime_type,
                "ContentLength": input.size,
                "IfNoneMatch": "*",
            },
            ExpiresIn=UPLOAD_URL_TTL_S,
        )
        headers = {"content-type": attachment.mime_type, "if-none-match": "*"}
        descriptor = AttachmentUploadDescriptor(url=AnyUrl(url), method="PUT", headers=headers)
        return attachment.model_copy(update={"upload_descriptor": descriptor})

    async def upload(self, announced: AttachmentCreateParams, data: BinaryIO, context: RequestContext) -> Attachment:
        """Store into pending/, like a browser's upload; a file that is not of the announced type is refused at once."""
        attachment = self._announced(announced, context)
        head = data.read(file_types.HEAD_BYTES)
        data.seek(0)
        if not file_types.proves(attachment.mime_type, head):
            raise _not_as_announced(attachment)
        if self._admit is not None:
            await self._admit(announced.size, context)
        await self._calls.run(
            self._client.put_object,
            Bucket=self._bucket,
            Key=_pending(attachment.id, context),
            Body=data,
            ContentLength=announced.size,
            ContentType=attachment.mime_type,
        )
        return attachment

    def _announced(self, input: AttachmentCreateParams, context: RequestContext) -> Attachment:
        kind = file_types.admit(input.name, size=input.size, mime_type=input.mime_type, limits=self._limits)
        mime_type = file_types.media_type_of(input.mime_type)
        attachment_id = self.generate_attachment_id(mime_type, context)
        name, size = file_types.plain_name(input.name), {"size": input.size}
        if kind != "image":
            return FileAttachment(id=attachment_id, name=name, mime_type=mime_type, metadata=size)
        return ImageAttachment(id=attachment_id, name=name, mime_type=mime_type, metadata=size, preview_url=NO_URL)

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        """Delete the file, pending or stored; does nothing if there is none."""
        await asyncio.gather(
            *(
                self._calls.run(self._client.delete_object, Bucket=self._bucket, Key=key)
                for key in (_pending(attachment_id, context), _kept(attachment_id, context))
            )
        )

    async def verify(self, attachment: Attachment, context: RequestContext) -> None:
        """Files."""
        try:
            uploaded = await self._get(_pending(attachment.id, context), file_types.HEAD_BYTES)
        except MissingObjectError:
            raise _not_uploaded(attachment) from None
        is_as_announced = uploaded.size == (attachment.metadata or {}).get("size")
        if not is_as_announced or not file_types.proves(attachment.mime_type, uploaded.data):
            raise _not_as_announced(attachment)
        if context.turn is not None:
            context.turn.uploads[attachment.id] = uploaded.etag

    async def read_upload(self, attachment: Attachment, context: RequestContext) -> bytes:
        """Files."""
        size = self._limits.of(file_types.KINDS[attachment.mime_type])
        try:
            etag = _checked(attachment, context)
            return (await self._get(_pending(attachment.id, context), size, etag=etag)).data
        except MissingObjectError:
            raise _not_uploaded(attachment) from None
        except ChangedObjectError:
            raise _changed(attachment) from None

    async def bind(self, attachment: Attachment, context: RequestContext) -> None:
        """Files."""
        try:
            if (etag := _checked(attachment, context)) is None:
                await self._get(_kept(attachment.id, context), file_types.HEAD_BYTES)
                return
            await self._calls.run(
                self._client.copy_object,
                Bucket=self._bucket,
                Key=_kept(attachment.id, context),
                CopySource={"Bucket": self._bucket, "Key": _pending(attachment.id, context)},
                CopySourceIfMatch=etag,
                MetadataDirective="REPLACE",
                ContentType=attachment.mime_type,
                ContentDisposition=_disposition(attachment.name),
            )
        except MissingObjectError:
            raise ConflictError(
                Sentence("The file {name} is gone. Attach it again.", name=repr(attachment.name))
            ) from None
        except ChangedObjectError:
            raise _changed(attachment) from None

    async def read(self, attachment_id: str, context: RequestContext, *, max_bytes: int) -> bytes:
        """The first `max_bytes` of a stored file. Raises FileMissingError if it is gone."""
        try:
            return (await self._get(_kept(attachment_id, context), max_bytes)).data
        except MissingObjectError:
            raise FileMissingError(attachment_id) from None

    def url_of(self, attachment: Attachment, context: RequestContext) -> str:
        """A short-lived URL that shows the file; an upload that was not checked yet is served as UNPROVEN."""
        if attachment.thread_id is None:
            return self._shown(_pending(attachment.id, context), UNPROVEN, name=attachment.name)
        return self._shown(_kept(attachment.id, context), attachment.mime_type, name=attachment.name)

    def open_url(self, attachment: Attachment, context: RequestContext) -> str:
        """A short-lived URL that opens a stored file in a tab. Text of any type is sent as plain text, which browsers
        never run; pictures and PDF files begin with the bytes of their type. All are of the bucket's origin, not ours.
        """
        is_text = file_types.KINDS.get(attachment.mime_type) == "text"
        return self._presigned(
            _kept(attachment.id, context),
            ResponseContentType=PLAIN_TEXT if is_text else attachment.mime_type,
            ResponseContentDisposition=_disposition(attachment.name, "inline"),
        )

    async def keep_image(self, image_id: str, data: bytes, context: RequestContext) -> None:
        """Store a generated image; a later one with the same id replaces it."""
        media_type = file_types.image_type_of(data)
        await self._calls.run(
            self._client.put_object,
            Bucket=self._bucket,
            Key=_kept(image_id, context),
            Body=data,
            ContentType=media_type,
            ContentDisposition=_disposition(f"{image_id}.{media_type.removeprefix('image/')}"),
        )

    def image_url(self, image_id: str, context: RequestContext) -> str:
        """A short-lived URL that shows a generated image."""
        return self._presigned(_kept(image_id, context))  # the object has its type and name

    async def copy_to(self, user: User, attachment_id: str, context: RequestContext) -> None:
        """Copy a stored file into another user's folder. Idempotent; does nothing if the file is gone."""
        with suppress(MissingObjectError):
            await self._calls.run(
                self._client.copy_object,
                Bucket=self._bucket,
                Key=_kept(attachment_id, replace(context, user=user)),
                CopySource={"Bucket": self._bucket, "Key": _kept(attachment_id, context)},
            )

    async def _get(self, key: str, max_bytes: int, *, etag: str | None = None) -> "_Found":
        """The first `max_bytes` of an object. MissingObjectError, or ChangedObjectError if `etag` differs."""
        condition = {} if etag is None else {"IfMatch": etag}
        answer = await self._calls.run(self._read, Key=key, Range=f"bytes=0-{max_bytes - 1}", **condition)
        return _Found(answer["size"], answer["etag"], answer["data"])

    def _read(self, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - the parameters of GetObject
        """Runs in the executor's thread, because reading the body blocks too."""
        answer = self._client.get_object(Bucket=self._bucket, **params)
        with answer["Body"] as body:
            size = int(answer["ContentRange"].rpartition("/")[2])
            return {"size": size, "etag": answer["ETag"], "data": body.read()}

    def _shown(self, key: str, media_type: str, *, name: str) -> str:
        return self._presigned(key, ResponseContentType=media_type, ResponseContentDisposition=_disposition(name))

    def _presigned(self, key: str, **sent_as: str) -> str:
        place = {"Bucket": self._bucket, "Key": key}
        return self._client.generate_presigned_url("get_object", Params=place | sent_as, ExpiresIn=VIEW_URL_TTL_S)


@dataclass(frozen=True, slots=True)
class _Found:
    """An object's total size, version and first bytes."""

    size: int
    etag: str
    data: bytes


def _checked(attachment: Attachment, context: RequestContext) -> str | None:
    """The version of an upload that this turn verified; None if it did not."""
    return None if context.turn is None else context.turn.uploads.get(attachment.id)


def _changed(attachment: Attachment) -> ConflictError:
    return ConflictError(
        Sentence("The file {name} was replaced after it was checked. Attach it again.", name=repr(attachment.name))
    )


def _not_uploaded(attachment: Attachment) -> ConflictError:
    return ConflictError(Sentence("The file {name} was not uploaded. Attach it again.", name=repr(attachment.name)))


def _not_as_announced(attachment: Attachment) -> RequestError:
    return RequestError(
        Sentence(
            "The file {name} does not match its announced size or type ({mime_type}).",
            name=repr(attachment.name),
            mime_type=attachment.mime_type,
        )
    )


def _pending(attachment_id: str, context: RequestContext) -> str:
    return keys.user_objects(keys.PENDING_PREFIX, context.user.id) + keys.object_segment(attachment_id)


def _kept(attachment_id: str, context: RequestContext) -> str:
    """The key of a stored file, under the prefix that the store deletes with the thread."""
    return keys.attachment_objects(context.user.id, attachment_id) + "file"


def _disposition(name: str, kind: str = "attachment") -> str:
    return f"{kind}; filename*=UTF-8''{quote(name, safe='')}"
