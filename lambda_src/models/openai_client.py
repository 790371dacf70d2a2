"""The openai library's client, with two shortcuts through its public extension points. Knows no thread.

An answer that ends before it is whole is an error, whichever API and vendor: see `Whole`.

*history*: what is plain JSON already travels as `extra_body`: the library would walk it key by key against the types of
all items, on every turn of a tool loop; the request's body is the same. *deltas*: an event is validated by the class
that its type names; the library tries a union of all of them, and builds that union for the first event.
"""

from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any, TypeVar, get_args

from agents import exceptions
from openai import AsyncOpenAI, AsyncStream, BaseModel, omit
from openai.resources.responses import AsyncResponses
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import ValidationError

from lambda_src.errors import BROKEN_OFF, UnavailableError
from lambda_src.models.errors import CUTS, CutError, WebPageError
from lambda_src.startup import flags

T = TypeVar("T")
MOVED = ("input", "tools")  # what grows with the conversation, and what is large from the start


class Client(AsyncOpenAI):
    """AsyncOpenAI; what is asked and answered is the same."""

    @cached_property
    def responses(self) -> AsyncResponses:
        """The resource behind /responses."""
        return _Responses(self) if flags.is_on("history") else AsyncResponses(self)

    async def post(self, path: str, **options: Any) -> Any:  # noqa: ANN401 - eight overloads
        """The library's hook for requests; a stream of a response's events gets events that make themselves."""
        asked = options.get("stream_cls")
        if asked == AsyncStream[ChatCompletionChunk]:
            options["stream_cls"] = Whole[ChatCompletionChunk]
        elif asked == AsyncStream[ResponseStreamEvent]:
            options["stream_cls"] = Whole[Event] if flags.is_on("deltas") else Whole[ResponseStreamEvent]
        answer = await super().post(path, **options)
        if isinstance(answer, AsyncStream) and _is_web_page(answer):
            await answer.close()
            raise WebPageError
        return answer


def _is_web_page(stream: AsyncStream[Any]) -> bool:
    return str(stream.response.headers.get("content-type", "")).startswith("text/html")


class _Responses(AsyncResponses):
    async def create(self, **asked: Any) -> Any:  # noqa: ANN401 - as above
        moved = {name: asked[name] for name in MOVED if is_plain(asked.get(name))}
        if "input" in moved:
            asked |= dict.fromkeys(moved, omit) | {"extra_body": moved | (asked.get("extra_body") or {})}
        return await super().create(**asked)


def is_plain(value: object) -> bool:
    """Whether `value` is a list that JSON holds as it is; a model or a file in it is the library's to convert."""
    return type(value) is list and all(map(_is_json, value))


def _is_json(value: object) -> bool:
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and _is_json(inner) for key, inner in value.items())  # type: ignore[attr-defined]
    if kind is list:
        return all(map(_is_json, value))  # type: ignore[call-overload]
    return kind is str or kind is int or kind is bool or value is None or kind is float


class Whole(AsyncStream[T]):
    """A stream that fails if it ends without the event that ends an answer, as when a proxy's upstream is cut off.

    The Agents SDK checks a Chat Completions stream at OpenAI's own address only, and takes what arrived for the whole
    answer elsewhere. Whatever the stream fails of, what came before it still reaches the user.
    """

    async def __aiter__(self) -> AsyncIterator[T]:
        """The library's hook. CutError: a chat completion was cut, which the Agents SDK takes for a whole answer."""
        end, event = None, None
        try:
            async for event in super().__aiter__():
                if end is None:
                    end = _end(event)
                yield event
            if end is None:
                raise UnavailableError(BROKEN_OFF)
            if end in CUTS:
                raise CutError.counted(CUTS[end], getattr(event, "usage", None))
        except Exception as error:
            pass_on_what_came(error)
            raise


ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "error", "response.error"})


def _end(event: Any) -> str | None:  # noqa: ANN401 - an event of either API
    """The type of the event that ends a response, or the finish reason of a chat completion; None for other events."""
    if type(event) is ChatCompletionChunk:  # isinstance would ask abc for every event of the other API
        return next((choice.finish_reason for choice in event.choices or () if choice.finish_reason), None)
    if event.type == "response.completed" and not isinstance(event.response, BaseModel):
        raise UnavailableError(BROKEN_OFF)  # the SDK would fail over it, and drop what came before
    return event.type if event.type in ENDS else None


def pass_on_what_came(error: Exception) -> None:
    """Let the Agents SDK deliver the events that it has read, before it raises `error`. Else it drops them."""
    getattr(exceptions, "_mark_error_to_drain_stream_events", lambda _: None)(error)


class Event:
    """What the library asks to make an event of a line's data, through its hook `build`."""

    @classmethod
    def build(cls, *, response: object, data: Any) -> BaseModel:  # noqa: ANN401 - decoded JSON
        """The event, of the class that the library would have found."""
        made = CLASSES.get(data.get("type"), UNKNOWN)
        try:
            return made.model_validate(data)
        except ValidationError:  # another vendor's, who leaves out what the types require; or one that nobody knows yet
            return made.construct(**data)


_UNION = get_args(get_args(ResponseStreamEvent)[0])
CLASSES: dict[str, type[BaseModel]] = {get_args(one.model_fields["type"].annotation)[0]: one for one in _UNION}
UNKNOWN: type[BaseModel] = _UNION[0]  # what the library, too, makes of an event whose type it does not know
