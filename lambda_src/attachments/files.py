"""The interface of an attachment store: ChatKit's, plus what server and history need. Knows no bucket."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import BinaryIO

from chatkit.store import AttachmentStore
from chatkit.types import Attachment, AttachmentCreateParams
from pydantic import AnyUrl

from lambda_src.context import RequestContext, User
from lambda_src.settings import MAX_FILE_BYTES, MAX_IMAGE_BYTES

NO_URL = AnyUrl("about:blank")  # of a stored picture; it gets a presigned URL when it is sent


@dataclass(frozen=True, slots=True)
class Upload:
    """One file: its announced name, type and size, and its bytes (on disk if there are many)."""

    announced: AttachmentCreateParams
    data: BinaryIO


class FileMissingError(Exception):
    """The file does not exist: it was never uploaded, has expired or was deleted."""


class Files(AttachmentStore[RequestContext]):
    """User files, in one folder per user: the files of other users look missing."""

    largest_bytes: int = max(MAX_FILE_BYTES, MAX_IMAGE_BYTES)  # the largest file that may be attached

    @abstractmethod
    async def upload(self, announced: AttachmentCreateParams, data: BinaryIO, context: RequestContext) -> Attachment:
        """Store a file as if the browser had uploaded it. RequestError or TooLargeError: it is not accepted."""

    @abstractmethod
    async def verify(self, attachment: Attachment, context: RequestContext) -> None:
        """Check an upload's size and type, and record its version in the turn: from then on only that version is used.

        Raises ConflictError if nothing was uploaded, RequestError if the file is not what was announced.
        """

    @abstractmethod
    async def read_upload(self, attachment: Attachment, context: RequestContext) -> bytes:
        """All bytes of an upload that this turn verified. Raises ConflictError if it was removed or changed since."""

    @abstractmethod
    async def bind(self, attachment: Attachment, context: RequestContext) -> None:
        """Store an upload that this turn verified permanently; a file that is already stored stays unchanged.

        Raises ConflictError if the upload was removed or changed since, or if there is no file.
        """

    @abstractmethod
    async def read(self, attachment_id: str, context: RequestContext, *, max_bytes: int) -> bytes:
        """The first `max_bytes` of a stored file or generated image. Raises FileMissingError if it is gone."""

    @abstractmethod
    def url_of(self, attachment: Attachment, context: RequestContext) -> str:
        """A short-lived URL that shows the file."""

    @abstractmethod
    def open_url(self, attachment: Attachment, context: RequestContext) -> str:
        """A short-lived URL that opens a stored file in a tab."""

    @abstractmethod
    async def keep_image(self, image_id: str, data: bytes, context: RequestContext) -> None:
        """Store a generated image; a later one with the same id replaces it."""

    @abstractmethod
    def image_url(self, image_id: str, context: RequestContext) -> str:
        """A short-lived URL that shows a generated image."""

    @abstractmethod
    async def copy_to(self, user: User, attachment_id: str, context: RequestContext) -> None:
        """Copy a stored file into another user's folder. Idempotent; does nothing if the file is gone."""
