"""Images that a model generates, kept as files of the thread. Knows no row: `adopt` is handed in."""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from chatkit.agents import ResponseStreamConverter
from chatkit.types import GeneratedImage

from lambda_src.attachments.files import Files
from lambda_src.context import RequestContext

PARTIAL_IMAGES = 3  # what OpenAI's image tool sends at most; progress is counted against it


@dataclass(slots=True)
class _Picture:
    own_id: str
    final: bool = False


@dataclass(slots=True)
class KeptImages(ResponseStreamConverter):
    """Generated images of one run, partial and final, in `files`: in an item they would be far past a row's size.

    `adopt` is given the id of each new image, so that it can be deleted with its thread. The model's ids are replaced,
    as they may be one constant: see `renamed`.
    """

    files: Files
    context: RequestContext
    adopt: Callable[[], Awaitable[str]]
    partial_images: int | None = PARTIAL_IMAGES
    _pictures: dict[str, _Picture] = field(default_factory=dict)

    async def base64_image_to_url(
        self, image_id: str, base64_image: str, partial_image_index: int | None = None
    ) -> str:
        """Keep the image and say where it can be seen for a while. ValueError: it is not base64."""
        picture = self._pictures.get(image_id)
        if picture is None or picture.final:
            picture = self._pictures[image_id] = _Picture(await self.adopt())
        await self.files.keep_image(picture.own_id, base64.b64decode(base64_image, validate=True), self.context)
        picture.final = partial_image_index is None
        return self.files.image_url(picture.own_id, self.context)

    def renamed(self, image: GeneratedImage) -> GeneratedImage:
        """The image under the id of the file it is kept in."""
        picture = self._pictures.get(image.id)
        return image if picture is None else image.model_copy(update={"id": picture.own_id})
