"""Presigned URLs of pictures, added to the JSON that goes to the client. They expire, so none is stored or journaled.

Knows the JSON of ChatKit's events and answers; no bucket, no row.
"""

from typing import Any

from chatkit.types import ImageAttachment
from pydantic_core import from_json, to_json

from lambda_src.attachments.files import Files
from lambda_src.context import RequestContext

_ATTACHED, _GENERATED = b'"preview_url"', b'"generated_image'  # JSON that has neither is not parsed
_DATA = b"data: "


class PresignedUrls:
    """Adds URLs of `files` that work for an hour. URLs in the data of tools and widgets stay as they are."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def in_event(self, event: bytes, context: RequestContext) -> bytes:
        """An encoded event with new URLs; the same object if it has no picture."""
        if _ATTACHED not in event and _GENERATED not in event:
            return event
        value = from_json(event.removeprefix(_DATA))
        match value:
            case {"item": item}:
                self._sign(item, context)
            case {"update": {"type": "generated_image.updated", "image": image}}:
                self._sign({"type": "generated_image", "image": image}, context)
            case _:
                return event
        return _DATA + to_json(value) + b"\n\n"

    def in_answer(self, answer: bytes, context: RequestContext) -> bytes:
        """A JSON answer (a thread, a page of items or an attachment) with new URLs; the same if it has no picture."""
        if _ATTACHED not in answer and _GENERATED not in answer:
            return answer
        value = from_json(answer)
        match value:
            case {"items": {"data": [*items]}} | {"data": [*items]}:
                for item in items:
                    self._sign(item, context)
            case {"type": "image"}:
                self._sign({"type": "user_message", "attachments": [value]}, context)
            case _:
                return answer
        return to_json(value)

    def _sign(self, item: Any, context: RequestContext) -> None:  # noqa: ANN401 - the JSON of any item
        match item:
            case {"type": "user_message", "attachments": [*attachments]}:
                for attachment in attachments:
                    if attachment["type"] == "image":
                        picture = ImageAttachment.model_validate(attachment)
                        attachment["preview_url"] = self._files.url_of(picture, context)
            case {"type": "generated_image", "image": {"id": str(image_id)} as image}:
                image["url"] = self._files.image_url(image_id, context)
            case _:
                pass
