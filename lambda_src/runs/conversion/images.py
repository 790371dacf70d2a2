"""Stores the images that a model generates as files of the thread. Knows no row: `new_id` is passed in."""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from chatkit.agents import ResponseStreamConverter
from chatkit.types import GeneratedImage

from lambda_src.attachments.files import NO_URL, Files
from lambda_src.context import RequestContext

PARTIAL_IMAGES = 3  # the most that OpenAI's image tool sends; progress is relative to it


@dataclass(slots=True)
class _Picture:
    own_id: str
    final: bool = False


@dataclass(slots=True)
class KeptImages(ResponseStreamConverter):
    """Stores partial and final images of one run in `files`, because they are too large for a row.

    `new_id` returns the id of each new image and ties it to the thread, so that it is deleted with it. The model's ids
    are replaced, since some vendors send the same one every time: see `renamed`.
    """

    files: Files
    context: RequestContext
    new_id: Callable[[], Awaitable[str]]
    partial_images: int | None = PARTIAL_IMAGES
    _pictures: dict[str, _Picture] = field(default_factory=dict)

    async def base64_image_to_url(
        self, image_id: str, base64_image: str, partial_image_index: int | None = None
    ) -> str:
        """Store the image. Its URL is added when the event is sent. Raises ValueError if it is not base64."""
        picture = self._pictures.get(image_id)
        if picture is None or picture.final:
            picture = self._pictures[image_id] = _Picture(await self.new_id())
        await self.files.keep_image(picture.own_id, base64.b64decode(base64_image, validate=True), self.context)
        picture.final = partial_image_index is None
        return str(NO_URL)

    def renamed(self, image: GeneratedImage) -> GeneratedImage:
        """The image with the id of the file that stores it."""
        picture = self._pictures.get(image.id)
        return image if picture is None else image.model_copy(update={"id": picture.own_id})
