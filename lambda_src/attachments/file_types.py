"""Accepted file types, size limits, and type detection by a file's first bytes. Pure; knows no bucket.

Types that are not listed here are refused, so HTML and SVG, which a browser would run, are never stored.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self

from lambda_src.errors import RequestError, TooLargeError
from lambda_src.languages import Sentence
from lambda_src.settings import MAX_FILE_BYTES, MAX_IMAGE_BYTES

HEAD_BYTES = 512  # read from a file to detect its type: more than any signature below, and enough to recognize text
MAX_NAME_CHARS = 255  # the limit of common file systems
MAX_FILES = 10  # per message: each one costs two requests before the answer begins

Kind = Literal["image", "pdf", "text"]

KINDS: Final[Mapping[str, Kind]] = {
    "image/png": "image",
    "image/jpeg": "image",
    "image/gif": "image",
    "image/webp": "image",
    "application/pdf": "pdf",
    "text/plain": "text",
    "text/markdown": "text",
    "text/csv": "text",
    "application/json": "text",
}
NOT_ACCEPTED = (
    "Files of this type are not accepted. "
    "Accepted types: PNG, JPEG, GIF and WebP pictures, PDF, plain text, Markdown, CSV and JSON."
)
_SIGNATURES: Final[Mapping[str, tuple[bytes, ...]]] = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "application/pdf": (b"%PDF-",),
}
_LONGEST_UTF8_CHAR = 4  # bytes: the first bytes of a file may end inside a character


@dataclass(frozen=True, slots=True)
class FileLimits:
    """The largest file of each kind, in bytes."""

    max_image_bytes: int = MAX_IMAGE_BYTES
    max_file_bytes: int = MAX_FILE_BYTES

    @classmethod
    def up_to(cls, max_file_bytes: int) -> Self:
        """Limits with this one for files, and for images where it is lower than theirs."""
        return cls(min(MAX_IMAGE_BYTES, max_file_bytes), max_file_bytes)

    def of(self, kind: Kind) -> int:
        """The limit for one kind."""
        return self.max_image_bytes if kind == "image" else self.max_file_bytes


def media_type_of(mime_type: str) -> str:
    """The media type without parameters, in lower case: `Image/PNG; q=1` is image/png."""
    return mime_type.split(";", 1)[0].strip().lower()


def admit(name: str, *, size: int, mime_type: str, limits: FileLimits) -> Kind:
    """The kind of file that this claims to be. Raises RequestError or TooLargeError if it is not accepted."""
    kind = KINDS.get(media_type_of(mime_type))
    if kind is None:
        raise RequestError(NOT_ACCEPTED)
    if not plain_name(name).strip() or len(name) > MAX_NAME_CHARS or "\0" in name:
        raise RequestError(Sentence("A file needs a name of 1 to {most} characters.", most=MAX_NAME_CHARS))
    if size < 1:
        raise RequestError("This file is empty.")
    if size > limits.of(kind):
        raise TooLargeError(Sentence("This file is too large: the limit is {most} bytes.", most=limits.of(kind)))
    return kind


def plain_name(name: str) -> str:
    """`name` without invisible characters (control, zero-width and bidi), which can disguise its extension.

    With U+202E in it, `invoice_<U+202E>fdp.exe` is shown as `invoice_exe.pdf`.
    """
    return "".join(char for char in name if char.isprintable() or unicodedata.category(char) == "Zs")


def proves(media_type: str, head: bytes) -> bool:
    """Whether a file of this `media_type` can begin with `head`: its first HEAD_BYTES, or all of a shorter file."""
    if media_type == "image/webp":
        return head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    if media_type in _SIGNATURES:
        return head.startswith(_SIGNATURES[media_type])
    return KINDS.get(media_type) == "text" and _is_text(head)


def image_type_of(data: bytes) -> str:
    """The media type of a generated image, by its first bytes; unknown ones are sent as PNG."""
    return next((name for name, kind in KINDS.items() if kind == "image" and proves(name, data)), "image/png")


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(head) == HEAD_BYTES and error.start > HEAD_BYTES - _LONGEST_UTF8_CHAR
    return True
