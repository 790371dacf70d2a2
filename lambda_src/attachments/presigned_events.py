"""Live URLs in encoded events: none is journaled, and each replay gets its own. Knows JSON's shape, no bucket, no row.

Where the store keeps items, PresignedStore does the same; here the events are bytes already.
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
    """turns.journal.Links, with the URLs of `files`."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def plain(self, event: bytes) -> bytes:
        """The event without live URLs; the same object when it has none."""
        return _with_urls(event, lambda _: NO_URL, lambda _: NO_URL) if _SIGNED in event else event

    def linked(self, event: bytes, context: RequestContext) -> bytes:
        """The event with URLs that work for a while from now."""
        if _PLAIN not in event:
            return event
        return _with_urls(
            event,
            lambda attachment: self._files.url_of(ImageAttachment.model_validate(attachment), context),
            lambda image: self._files.image_url(image["id"], context),
        )


def _with_urls(event: bytes, of_attachment: UrlOf, of_image: UrlOf) -> bytes:
    told = json.loads(event.removeprefix(_DATA))
    _set(told, of_attachment, of_image)
    return _DATA + json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _set(event: Any, of_attachment: UrlOf, of_image: UrlOf) -> None:  # noqa: ANN401 - any event
    """Give our pictures their URLs: those of a user's message, and generated ones. What a tool or widget has is its."""
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
