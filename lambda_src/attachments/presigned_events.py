"""Presigned URLs in encoded stream events: the journal holds none, and each replay gets new ones.

PresignedStore does the same for stored items; here the events are already bytes. Knows the events' JSON; no bucket, no
row.
"""

import json
from collections.abc import Callable
from typing import Any

from chatkit.types import ImageAttachment

from lambda_src.attachments.files import Files
from lambda_src.attachments.presigned_store import NO_URL
from lambda_src.context import RequestContext

_SIGNED = b"X-Amz-Signature="
_PLAIN = NO_URL.encode()
_DATA = b"data: "

UrlOf = Callable[[dict[str, Any]], str]


class EventLinks:
    """Implements turns.journal.Links with the URLs of `files`."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def plain(self, event: bytes) -> bytes:
        """The event without presigned URLs; the same object if it has none."""
        return _with_urls(event, lambda _: NO_URL, lambda _: NO_URL) if _SIGNED in event else event

    def linked(self, event: bytes, context: RequestContext) -> bytes:
        """The event with newly presigned URLs."""
        if _PLAIN not in event:
            return event
        return _with_urls(
            event,
            lambda attachment: self._files.url_of(ImageAttachment.model_validate(attachment), context),
            lambda image: self._files.image_url(image["id"], context),
        )


def _with_urls(event: bytes, of_attachment: UrlOf, of_image: UrlOf) -> bytes:
    decoded = json.loads(event.removeprefix(_DATA))
    _set(decoded, of_attachment, of_image)
    return _DATA + json.dumps(decoded, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _set(event: Any, of_attachment: UrlOf, of_image: UrlOf) -> None:  # noqa: ANN401 - any event
    """Set the URLs of pictures in user messages and of generated ones. URLs in tools' and widgets' data stay."""
    match event:
        case {"item": {"type": "user_message", "attachments": [*attachments]}}:
            for attachment in attachments:
                if attachment["type"] == "image":
                    attachment["preview_url"] = of_attachment(attachment)
        case {"item": {"type": "generated_image", "image": {"id": str()} as image}} | {
            "update": {"type": "generated_image.updated", "image": {"id": str()} as image}
        }:
            image["url"] = of_image(image)
        case _:
            pass
