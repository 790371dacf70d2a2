"""The openai library's client with two optimizations, through public extension points. Knows no thread.

An answer that ends before it is complete is an error, whatever the API and the vendor: see `Whole`.

*history*: input that is already plain JSON is sent as `extra_body`. The library would otherwise walk it key by key
against the types of all items, on every turn of a tool loop. The request's body is the same. *deltas*: an event is
validated by the class that its type names. The library tries a union of all classes, and builds that union for the
first event.
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
MOVED = ("input", "tools")  # one grows with the conversation, the other is large from the start


class Client(AsyncOpenAI):
    """AsyncOpenAI with the same requests and results."""

    @cached_property
    def responses(self) -> AsyncResponses:
        """The resource behind /responses."""
        return _Responses(self) if flags.is_on("history") else AsyncResponses(self)

    async def post(self, path: str, **options: Any) -> Any:  # noqa: ANN401 - eight overloads
        """Overrides the library's hook for requests, to replace the classes of its streams."""
        stream_cls = options.get("stream_cls")
        if stream_cls == AsyncStream[ChatCompletionChunk]:
            options["stream_cls"] = Whole[ChatCompletionChunk]
        elif stream_cls == AsyncStream[ResponseStreamEvent]:
            options["stream_cls"] = Whole[Event] if flags.is_on("deltas") else Whole[ResponseStreamEvent]
        answer = await super().post(path, **options)
        if isinstance(answer, AsyncStream) and _is_web_page(answer):
            await answer.close()
            raise WebPageError
        return answer


def _is_web_page(stream: AsyncStream[Any]) -> bool:
    return str(stream.response.headers.get("content-type", "")).startswith("text/html")


class _Responses(AsyncResponses):
    async def create(self, **params: Any) -> Any:  # noqa: ANN401 - as above
        moved = {name: params[name] for name in MOVED if is_plain(params.get(name))}
        if "input" in moved:
            params |= dict.fromkeys(moved, omit) | {"extra_body": moved | (params.get("extra_body") or {})}
        return await super().create(**params)


def is_plain(value: object) -> bool:
    """Whether `value` is a list of plain JSON; if it holds a model or a file, the library must convert it."""
    return type(value) is list and all(map(_is_json, value))


def _is_json(value: object) -> bool:
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and _is_json(inner) for key, inner in value.items())  # type: ignore[attr-defined]
    if kind is list:
        return all(map(_is_json, value))  # type: ignore[call-overload]
    return kind is str or kind is int or kind is bool or value is None or kind is float


class Whole(AsyncStream[T]):
    """A stream that fails if it ends without the event that ends an answer, for example if a proxy loses its upstream.

    The Agents SDK checks this for Chat Completions at OpenAI's own address only; elsewhere it accepts a partial answer
    as complete. If the stream fails, the events before the failure still reach the user.
    """

    async def __aiter__(self) -> AsyncIterator[T]:
        """The library's hook. Raises CutError for a cut chat completion, which the Agents SDK accepts as complete."""
        end, event = None, None
        try:
            async for event in super().__aiter__():
                if end is None:
                    end = _end(event)
                yield event
            if end is None:
                raise UnavailableError(BROKEN_OFF)
            if end in CUTS:
                raise CutError(CUTS[end], getattr(event, "usage", None))
        except Exception as error:
            pass_on_what_came(error)
            raise


ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "error", "response.error"})


def _end(event: Any) -> str | None:  # noqa: ANN401 - an event of either API
    """The type of the event that ends a response, or the finish reason of a chat completion; None for other events."""
    if type(event) is ChatCompletionChunk:  # isinstance would be slower, for every event of the other API
        return next((choice.finish_reason for choice in event.choices or () if choice.finish_reason), None)
    if event.type == "response.completed" and not isinstance(event.response, BaseModel):
        raise UnavailableError(BROKEN_OFF)  # the SDK would fail, and drop the events before it
    return event.type if event.type in ENDS else None


def pass_on_what_came(error: Exception) -> None:
    """Make the Agents SDK deliver the events that it has read before it raises `error`; by default it drops them."""
    getattr(exceptions, "_mark_error_to_drain_stream_events", lambda _: None)(error)


class Event:
    """Creates events through the library's hook `build`."""

    @classmethod
    def build(cls, *, response: object, data: Any) -> BaseModel:  # noqa: ANN401 - decoded JSON
        """The event, in the class that the library would choose."""
        event_class = CLASSES.get(data.get("type"), UNKNOWN)
        try:
            return event_class.model_validate(data)
        except ValidationError:  # a vendor left out a required field, or the type is unknown
            return event_class.construct(**data)


_UNION = get_args(get_args(ResponseStreamEvent)[0])
CLASSES: dict[str, type[BaseModel]] = {get_args(member.model_fields["type"].annotation)[0]: member for member in _UNION}
UNKNOWN: type[BaseModel] = _UNION[0]  # the class that the library uses for unknown types
