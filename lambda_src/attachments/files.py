"""The port that server, converter and checks use for files: ChatKit's AttachmentStore, completed. Knows no bucket."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import BinaryIO

from chatkit.store import AttachmentStore
from chatkit.types import Attachment, AttachmentCreateParams

from lambda_src.context import RequestContext, User
from lambda_src.settings import MAX_FILE_BYTES, MAX_IMAGE_BYTES


@dataclass(frozen=True, slots=True)
class Upload:
    """One file: what it is said to be, and its bytes (on disk, when they are many)."""

    announced: AttachmentCreateParams
    data: BinaryIO


class FileMissingError(Exception):
    """The file is not there: never uploaded, expired or deleted."""


class Files(AttachmentStore[RequestContext]):
    """Everything is in the user's own folder: what is someone else's is missing."""

    largest_bytes: int = max(MAX_FILE_BYTES, MAX_IMAGE_BYTES)  # of one file that may be attached

    @abstractmethod
    async def upload(self, announced: AttachmentCreateParams, data: BinaryIO, context: RequestContext) -> Attachment:
        """An attachment with its bytes, as if the browser had sent them. RequestError or TooLargeError: not taken."""

    @abstractmethod
    async def verify(self, attachment: Attachment, context: RequestContext) -> None:
        """Look at what was uploaded, and note its version in the turn: only that one is read and kept from now on.

        ConflictError: nothing was uploaded. RequestError: it is not what it was said to be.
        """

    @abstractmethod
    async def read_upload(self, attachment: Attachment, context: RequestContext) -> bytes:
        """All of an upload that was verified in this turn. ConflictError: it was removed or changed since."""

    @abstractmethod
    async def bind(self, attachment: Attachment, context: RequestContext) -> None:
        """Keep for good what was verified in this turn; a file that is kept already stays as it is.

        ConflictError: the upload was removed or changed since, or there is nothing to keep.
        """

    @abstractmethod
    async def read(self, attachment_id: str, context: RequestContext, *, max_bytes: int) -> bytes:
        """The first `max_bytes` of a bound file or a generated image. FileMissingError when it is gone."""

    @abstractmethod
    def url_of(self, attachment: Attachment, context: RequestContext) -> str:
        """A short-lived URL that shows the file."""

    @abstractmethod
    async def keep_image(self, image_id: str, data: bytes, context: RequestContext) -> None:
        """Keep a generated image; the next one under the same id takes its place."""

    @abstractmethod
    def image_url(self, image_id: str, context: RequestContext) -> str:
        """A short-lived URL that shows a generated image."""

    @abstractmethod
    async def copy_to(self, user: User, attachment_id: str, context: RequestContext) -> None:
        """Keep a copy of a bound file in another user's folder. Twice is once; quiet when the file is gone."""
