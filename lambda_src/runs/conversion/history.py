"""Converts a thread's history to model input: the newest items that fit into the token limit. Knows no store, no HTTP.

An item that cannot be converted becomes a sentence, so it never ends a conversation. The oldest items are dropped
first, always whole. A tool call and its output are one item, so they stay together.
"""

import base64
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

from agents import TResponseInputItem
from chatkit.agents import ThreadItemConverter
from chatkit.types import (
    AssistantMessageItem,
    Attachment,
    GeneratedImageItem,
    HiddenContextItem,
    ThreadItem,
    UserMessageItem,
    UserMessageTagContent,
)
from openai.types.responses import (
    EasyInputMessageParam,
    ResponseInputContentParam,
    ResponseInputFileParam,
    ResponseInputImageParam,
    ResponseInputTextParam,
)
from openai.types.responses.response_input_item_param import Message

from lambda_src.attachments.file_types import KINDS, image_type_of
from lambda_src.attachments.files import FileMissingError
from lambda_src.errors import UnavailableError
from lambda_src.models.errors import FILE_KINDS, FileKind
from lambda_src.quotas import token_estimate
from lambda_src.runs import approvals
from lambda_src.settings import HISTORY_TOKENS
from lambda_src.turns.activity import is_activity

TEXT_SHOWN_BYTES = 200_000  # of one text file: 50,000 tokens
FILES_SHOWN_BYTES = 30_000_000  # of all files of a turn: what fits beside everything else into 1 GB, in base64, twice.
# A stage whose largest file may be larger shows so much of files: it raised the limit, and memory_mb with it.
NAMES: dict[FileKind, str] = {"image": "pictures", "pdf": "PDF files"}

Read = Callable[[str, int], Awaitable[bytes]]
"""(attachment or image id, most bytes) to the bytes. FileMissingError, UnavailableError."""

log = logging.getLogger(__name__)


async def _no_files(_id: str, _max_bytes: int) -> bytes:
    raise FileMissingError(_id)


class HistoryConverter(ThreadItemConverter):
    """Creates the input of one turn. Every type of item is converted, whatever its content."""

    def __init__(
        self,
        *,
        read: Read = _no_files,
        max_tokens: int = HISTORY_TOKENS,
        takes: Collection[FileKind] = FILE_KINDS,
        largest_bytes: int = 0,
    ) -> None:
        """`takes` are the kinds of file that the model can read, `largest_bytes` the size of the largest file."""
        self._read, self._max_tokens, self._takes = read, max_tokens, takes
        self._bytes_left = max(FILES_SHOWN_BYTES, largest_bytes)
        self.shown: set[FileKind] = set()  # kinds of file in what was converted

    async def history_to_input(self, items: Sequence[ThreadItem]) -> list[TResponseInputItem]:
        """The newest of `items` (in the order of the thread) that fit; always those from the last user message on."""
        newest = max((n for n, item in enumerate(items) if isinstance(item, UserMessageItem)), default=len(items) - 1)
        newest_first: list[list[TResponseInputItem]] = []
        left = self._max_tokens
        for number in range(len(items) - 1, -1, -1):
            parts = await self._shown(items[number], is_last_message=number == newest)
            left -= token_estimate.shown_about(parts)
            if left < 0 and number < newest:
                break
            newest_first.append(parts)
        return [part for parts in reversed(newest_first) for part in parts]

    async def _shown(self, item: ThreadItem, *, is_last_message: bool) -> list[TResponseInputItem]:
        if approvals.is_ours(item) or is_activity(item):
            return []
        try:
            return await self._thread_item_to_input_item(item, is_last_message=is_last_message)
        except (TypeError, ValueError, NotImplementedError) as error:
            log.warning("item_not_shown", extra={"kind": item.type, "error_type": type(error).__qualname__})
            return [_message(_said(f"[An item of type {item.type} stands here that cannot be shown.]"))]

    async def attachment_to_message_content(self, attachment: Attachment) -> ResponseInputContentParam:
        """The file in the model's format; a sentence if it is gone, too large or of an unsupported type."""
        kind = KINDS.get(attachment.mime_type)
        if kind is not None and kind != "text" and kind not in self._takes:
            return _said(f"[The user attached the file {attachment.name!r}. This model cannot read {NAMES[kind]}.]")
        most = min(TEXT_SHOWN_BYTES, self._bytes_left) if kind == "text" else self._bytes_left
        size = (attachment.metadata or {}).get("size", 0)
        named = f"the file {attachment.name!r} ({attachment.mime_type})"
        not_shown = _said(f"[The user attached {named}. It is not shown here.]")
        if kind is None or most < 1 or (kind != "text" and size > most):
            return not_shown
        try:
            data = await self._read(attachment.id, most + 1)
        except (FileMissingError, UnavailableError):
            return _said(f"[The user attached {named}. It cannot be read any more.]")
        if kind != "text" and len(data) > most:  # its size was unknown; a truncated file is not valid
            return not_shown
        excerpt = data[:most]
        self._bytes_left -= len(excerpt)
        match kind:
            case "image":
                self.shown.add(kind)
                return _image(attachment.mime_type, data)
            case "pdf":
                self.shown.add(kind)
                url = _data_url(attachment.mime_type, data)
                return ResponseInputFileParam(type="input_file", filename=attachment.name, file_data=url)
            case "text":
                cut = " Only its beginning is shown." if len(data) > most else ""
                return _said(f"[The user attached {named}.{cut} It says:]\n{excerpt.decode(errors='replace')}")

    async def assistant_message_to_input(self, item: AssistantMessageItem) -> TResponseInputItem | None:
        """Plain text, because the Agents SDK's Chat Completions converter rejects upstream's parts."""
        text = "".join(part.text for part in item.content)
        return EasyInputMessageParam(type="message", role="assistant", content=text)

    async def generated_image_to_input(self, item: GeneratedImageItem) -> TResponseInputItem | None:
        """The picture itself, because its presigned URL may expire before the model fetches it."""
        if item.image is None:
            return None
        if "image" not in self._takes:
            return _message(_said("[You made a picture here. This model cannot read pictures.]"))
        try:
            data = await self._read(item.image.id, self._bytes_left + 1)
        except (FileMissingError, UnavailableError):
            return _message(_said("[You made a picture here that cannot be read any more.]"))
        if len(data) > self._bytes_left:
            return _message(_said("[You made a picture here.]"))
        self._bytes_left -= len(data)
        self.shown.add("image")
        return _message(_said("You made this picture:"), _image(image_type_of(data), data))

    async def tag_to_message_content(self, tag: UserMessageTagContent) -> ResponseInputTextParam:
        """The data of a mention, or its id if it has none."""
        if not tag.data:
            return _said(f"@{tag.text} has the id {tag.id!r}.")
        return _said(f"@{tag.text} stands for: {json.dumps(tag.data, ensure_ascii=False, default=str)}")

    async def hidden_context_to_input(
        self, item: HiddenContextItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        """Hidden context of any type; upstream's method accepts text only."""
        if not isinstance(item.content, str):
            content = json.dumps(item.content, ensure_ascii=False, default=str)
            item = item.model_copy(update={"content": content})
        return await super().hidden_context_to_input(item)


def _said(text: str) -> ResponseInputTextParam:
    return ResponseInputTextParam(type="input_text", text=text)


def _message(*content: ResponseInputTextParam | ResponseInputImageParam) -> Message:
    return Message(type="message", role="user", content=list(content))


def _image(media_type: str, data: bytes) -> ResponseInputImageParam:
    return ResponseInputImageParam(type="input_image", detail="auto", image_url=_data_url(media_type, data))


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
