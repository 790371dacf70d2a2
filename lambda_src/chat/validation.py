"""Validation of ChatKit requests, before they may write anything or end a running turn. Knows no HTTP.

ChatKit makes some of these checks only after it has begun to write and to stream, some with errors of another form, and
some not at all. All that can be checked first is checked here, so a refused request stores nothing.
"""

import asyncio
import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from chatkit.store import Store
from chatkit.types import (
    ActiveStatus,
    Attachment,
    AttachmentsCreateReq,
    AttachmentsDeleteReq,
    ChatKitReq,
    ClientToolCallItem,
    ClosedStatus,
    InferenceOptions,
    InputTranscribeReq,
    ItemsFeedbackReq,
    LockedStatus,
    StructuredInputItem,
    ThreadCustomActionParams,
    ThreadItem,
    ThreadMetadata,
    ThreadsAddClientToolOutputReq,
    ThreadsAddStructuredInputReq,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
    ThreadsCustomActionReq,
    ThreadsRetryAfterItemReq,
    ThreadsSyncCustomActionReq,
    ThreadsUpdateReq,
    UserMessageInput,
    UserMessageItem,
    UserMessageTagContent,
    UserMessageTextContent,
    WidgetItem,
)

from lambda_src.attachments.file_types import MAX_FILES
from lambda_src.attachments.files import Files
from lambda_src.chat import edits
from lambda_src.context import ReadAhead, RequestContext
from lambda_src.errors import ConflictError, ForbiddenError, RequestError, TooLargeError
from lambda_src.languages import Sentence
from lambda_src.quotas import token_estimate
from lambda_src.quotas.turn_limits import PROMPT_TOKENS, TITLE_TOKENS, turn_limits
from lambda_src.runs.hooks import Screening, UploadedFile
from lambda_src.settings import Settings
from lambda_src.startup import flags

TITLE_CHARS = 2_500  # of a message, and the instructions, that the model reads to suggest a title (titles.py)
MAX_TITLE_CHARS = 200  # four times as long as a list of threads shows
MAX_FEEDBACK_ITEMS = 100  # a page of a thread; ChatKit's client sends the few items of one answer
AUDIO_SIGNATURES = {  # the media types that ChatKit's client records: offset and bytes of each signature
    "audio/webm": (0, b"\x1a\x45\xdf\xa3"),
    "audio/ogg": (0, b"OggS"),
    "audio/mp4": (4, b"ftyp"),
}


@dataclass(frozen=True, slots=True)
class Checks:
    """Validates requests. `dictation` is whether it is offered."""

    store: Store[RequestContext]
    settings: Settings = field(default_factory=Settings)
    files: Files | None = None
    dictation: bool = False
    screening: Screening = field(default_factory=Screening)

    async def check(self, request: ChatKitReq, context: RequestContext) -> None:
        """Raise the error of an invalid request.

        NotFoundError: it names something that is missing or another user's. ConflictError: the thread's state does not
        allow it. RequestError: it is malformed, or asks for something that is not offered. TooLargeError: its text is
        too long. ForbiddenError, UnavailableError: a hook in agent/ refused it, or failed.
        """
        match request:
            case ThreadsCreateReq(params=params):
                begun_before = None if context.turn is None else context.turn.thread_id
                await self._message(params.input, begun_before, context)
                self._expect(params.input, (), context)
                if context.turn is not None and flags.is_on("ahead"):
                    context.turn.ahead = ReadAhead(thread=None, items=())
            case ThreadsAddUserMessageReq(params=params):
                if (edited := edits.edited_item(request)) is None:
                    await self._read_thread(params.thread_id, context)
                else:
                    await self._read_before(edited, params.thread_id, context)
                await self._message(params.input, params.thread_id, context)
                ahead = None if context.turn is None else context.turn.ahead
                self._expect(params.input, () if ahead is None else ahead.items, context)
            case ThreadsCustomActionReq(params=params) | ThreadsSyncCustomActionReq(params=params):
                await self._action(params, context)
            case ThreadsAddClientToolOutputReq(params=params):
                self._bounded(Sentence("This tool's result"), _json_chars(params.result), context)
                await self._open_thread(params.thread_id, context)
                newest = await self.store.load_thread_items(params.thread_id, None, 1, "desc", context)
                if not any(isinstance(item, ClientToolCallItem) and item.status == "pending" for item in newest.data):
                    raise ConflictError("This thread does not wait for a tool's output any more. Reload it.")
            case ThreadsAddStructuredInputReq(params=params):
                answers = [value for answer in params.input.answers.values() for value in answer.values]
                self._bounded(Sentence("This form"), sum(map(len, [*params.input.answers, *answers])), context)
                form = await self.store.load_item(params.thread_id, params.item_id, context=context)
                await self._open_thread(params.thread_id, context)
                if not isinstance(form, StructuredInputItem) or form.status != "pending":
                    raise ConflictError("This form is not open any more. Reload the thread.")
                await self.screening.message("\n".join(answers), context.user)
            case ThreadsRetryAfterItemReq(params=params):
                message = await self.store.load_item(params.thread_id, params.item_id, context=context)
                await self._open_thread(params.thread_id, context)
                if not isinstance(message, UserMessageItem):
                    raise ConflictError("Only your own messages can be answered again.")
            case AttachmentsCreateReq() | AttachmentsDeleteReq() if self.files is None:
                raise RequestError("This server takes no files: attachments are not set up.")
            case InputTranscribeReq(params=params):
                self._audio(params.audio_base64, mime_type=params.mime_type)
            case ThreadsUpdateReq(params=params):
                if not params.title.strip() or len(params.title) > MAX_TITLE_CHARS:
                    raise RequestError(Sentence("A title has 1 to {most} characters.", most=MAX_TITLE_CHARS))
            case ItemsFeedbackReq(params=params):
                if len(params.item_ids) > MAX_FEEDBACK_ITEMS:
                    raise RequestError(
                        Sentence("Feedback is taken on {most} items at a time.", most=MAX_FEEDBACK_ITEMS)
                    )
            case _:
                pass

    async def _open_thread(self, thread_id: str, context: RequestContext) -> None:
        refuse_unless_active(await self.store.load_thread(thread_id, context=context))

    async def _read_thread(self, thread_id: str, context: RequestContext) -> None:
        """Like _open_thread, and at the same time read the items that the answer needs: this saves two round trips."""
        if context.turn is None or not flags.is_on("ahead"):
            await self._open_thread(thread_id, context)
            return
        thread, page = await asyncio.gather(
            self.store.load_thread(thread_id, context=context),
            self.store.load_thread_items(thread_id, None, self.settings.history_items, "desc", context),
            return_exceptions=True,
        )
        if isinstance(thread, BaseException):
            raise thread
        refuse_unless_active(thread)
        if isinstance(page, BaseException):
            raise page
        context.turn.ahead = ReadAhead(thread, page.data)

    async def _read_before(self, edited: str, thread_id: str, context: RequestContext) -> None:
        """Like _read_thread for a message that replaces the last one: the answer needs the items before that."""
        thread = await self.store.load_thread(thread_id, context=context)
        refuse_unless_active(thread)
        await edits.last_message(self.store, thread_id, edited, context)
        page = await self.store.load_thread_items(thread_id, edited, self.settings.history_items, "desc", context)
        if context.turn is not None and flags.is_on("ahead"):
            context.turn.ahead = ReadAhead(thread, page.data)

    async def _message(self, input: UserMessageInput, thread_id: str | None, context: RequestContext) -> None:
        self._options(input.inference_options)
        self._bounded(Sentence("This message"), chars_of(input), context)
        if len(input.attachments) > MAX_FILES:
            raise RequestError(Sentence("A message takes {most} files at most.", most=MAX_FILES))
        if len(set(input.attachments)) != len(input.attachments):
            raise RequestError("A file is attached twice.")
        named = await asyncio.gather(
            *(self._attachment(attachment_id, thread_id, context) for attachment_id in input.attachments)
        )
        await self.screening.message("\n".join(texts_of(input)), context.user)
        for attachment in named:
            if attachment.thread_id is None:
                await self._scan(attachment, context)

    def _bounded(self, what: Sentence, length: int, context: RequestContext) -> None:
        """Raise TooLargeError if the text is longer than one message of this user may be."""
        most = turn_limits(self.settings, context.user).message_chars
        if length > most:
            raise TooLargeError(too_long(what, length, most))

    def _expect(self, input: UserMessageInput, newest_first: Sequence[ThreadItem], context: RequestContext) -> None:
        """Estimate the input tokens of the first request to the model, so that they can be reserved at once.

        Files are reserved when they are read, and so are instructions and tools beyond PROMPT_TOKENS.
        """
        if context.turn is None:
            return
        message = input.model_dump_json()
        tokens = PROMPT_TOKENS + token_estimate.at_most(message)
        if not newest_first:
            tokens += TITLE_TOKENS + token_estimate.at_most(message[:TITLE_CHARS])
        left = turn_limits(self.settings, context.user).history_tokens
        for item in newest_first:
            text = item.model_dump_json()
            if (left := left - token_estimate.about(text)) < 0:
                break
            tokens += token_estimate.at_most(text)
        context.turn.input_tokens = tokens

    async def _attachment(self, attachment_id: str, thread_id: str | None, context: RequestContext) -> Attachment:
        attachment = await self.store.load_attachment(attachment_id, context=context)
        if attachment.thread_id is not None and attachment.thread_id != thread_id:
            raise ConflictError(
                Sentence("The file {name} belongs to another thread. Attach it again.", name=repr(attachment.name))
            )
        if attachment.thread_id is None and self.files is not None:
            await self.files.verify(attachment, context)
        return attachment

    async def _scan(self, attachment: Attachment, context: RequestContext) -> None:
        """Call the hook with a new file and delete the file if refused. One at a time: each may have 20 MB."""
        if self.files is None or not await self.screening.scans_files():
            return
        data = await self.files.read_upload(attachment, context)
        try:
            await self.screening.file(UploadedFile(attachment.name, attachment.mime_type, data), context.user)
        except ForbiddenError:
            await self.files.delete_attachment(attachment.id, context)
            raise

    def _options(self, options: InferenceOptions) -> None:
        if options.model is not None and options.model not in self.settings.models:
            offered = ", ".join(self.settings.models) or Sentence("none: there is nothing to choose")
            raise RequestError(Sentence("This model is not offered here. Offered are {offered}.", offered=offered))
        if options.tool_choice is not None and options.tool_choice.id not in self.settings.tool_choices:
            offered = ", ".join(self.settings.tool_choices) or Sentence("none: there is nothing to choose")
            raise RequestError(Sentence("This tool cannot be chosen here. Offered are {offered}.", offered=offered))

    async def _action(self, params: ThreadCustomActionParams, context: RequestContext) -> None:
        if not isinstance(params.action.type, str):  # the default in ChatKit's type is a type variable
            raise RequestError("params.action.type is missing: which action?")
        self._bounded(Sentence("This action"), len(params.action.type) + _json_chars(params.action.payload), context)
        await self._open_thread(params.thread_id, context)
        if params.item_id is not None:
            sender = await self.store.load_item(params.thread_id, params.item_id, context=context)
            if not isinstance(sender, WidgetItem):
                raise RequestError("Only a widget can send an action.")

    def _audio(self, audio_base64: str, *, mime_type: str) -> None:
        if not self.dictation:
            raise RequestError("Dictation is not set up on this server.")
        offset, signature = AUDIO_SIGNATURES.get(mime_type.split(";", 1)[0].strip().lower(), (0, None))
        if signature is None:
            types = ", ".join(AUDIO_SIGNATURES)
            raise RequestError(Sentence("Audio of this type is not supported. Supported types: {types}.", types=types))
        try:
            data = base64.b64decode(audio_base64, validate=True)
        except ValueError:  # binascii.Error, or characters that are not ASCII
            raise RequestError("The audio is not base64.") from None
        if not data.startswith(signature, offset):
            raise RequestError("This is not the audio it is said to be.")


def too_long(what: Sentence, length: int, most: int) -> Sentence:
    """Why a text is refused that has more characters than the limit."""
    sentence = "{what} has {length} characters, and the limit is {most}. Shorten it."
    return Sentence(sentence, what=what, length=length, most=most)


def chars_of(message: UserMessageInput) -> int:
    """The number of characters of a message that the model reads."""
    return sum(map(len, texts_of(message)))


def _json_chars(value: object) -> int:
    """The length of a JSON value as the model, or a function in agent/, receives it."""
    return len(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def texts_of(message: UserMessageInput) -> Iterator[str]:
    """The texts of a message that the model reads: its text, mentions with their data, the quoted text."""
    for part in message.content:
        match part:
            case UserMessageTextContent():
                yield part.text
            case UserMessageTagContent():
                yield part.text
                yield json.dumps(part.data, ensure_ascii=False, default=str)
            case _:
                assert_never(part)
    if message.quoted_text:
        yield message.quoted_text


def refuse_unless_active(thread: ThreadMetadata) -> None:
    """Raise ConflictError with the reason if the thread is locked or closed."""
    match thread.status:
        case ActiveStatus():
            return
        case LockedStatus(reason=reason):
            raise ConflictError(
                Sentence("This conversation is locked. {reason}", reason=reason)
                if reason
                else "This conversation is locked."
            )
        case ClosedStatus(reason=reason):
            raise ConflictError(
                Sentence("This conversation is closed. {reason}", reason=reason)
                if reason
                else "This conversation is closed."
            )
        case _:
            assert_never(thread.status)
