"""Repairs models' stream events for ChatKit's converter, which fails on an event that it cannot read. Pure.

chatkit.agents expects every field that OpenAI documents, and citations in the classes of a finished message. The openai
library gives streamed citations other classes, and other vendors leave fields out (llama.cpp: `content_index`,
`annotations`). What cannot be repaired is dropped, and the answer continues.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any, get_args

from agents import RunItemStreamEvent
from openai.types import responses as r
from openai.types.responses import response_output_text
from openai.types.responses.response_output_text import AnnotationFileCitation, AnnotationURLCitation
from pydantic import BaseModel, ValidationError

Event = Any  # a class of openai's ResponseStreamEvent; a vendor's may lack any field, whatever its class says

CITATIONS: dict[str, type[BaseModel]] = {
    get_args(annotation.model_fields["type"].annotation)[0]: annotation
    for annotation in get_args(get_args(response_output_text.Annotation)[0])
}


@dataclass(frozen=True, slots=True)
class Document:
    """A file that a file search returned. `url` opens it for readers, if its attributes have one."""

    title: str
    url: str | None

    @classmethod
    def of(cls, result: Event) -> "Document":
        """From a search result. `make knowledge` sets the attributes `path` and `url`: docs/how-to/knowledge.md."""
        sent = getattr(result, "attributes", None)
        attributes: Mapping[str, object] = sent if isinstance(sent, Mapping) else {}
        path, url = attributes.get("path"), attributes.get("url")
        name = path if isinstance(path, str) and path else _text(getattr(result, "filename", ""))
        return cls(name, url if isinstance(url, str) and url.startswith(("https://", "http://")) else None)


Documents = Mapping[str, Document]  # by the vendor's file id
NO_DOCUMENTS: Documents = MappingProxyType({})


def citation(raw: object, text: str | None = None, documents: Documents = NO_DOCUMENTS) -> BaseModel | None:
    """The citation in the class that ChatKit accepts; None if it is incomplete or of an unknown type.

    `text` is what it cites, when that is known: an index beyond its end becomes its end. A citation of one of the
    `documents` gets its title, and becomes a link if it has a URL.
    """
    data = raw.model_dump(warnings=False) if isinstance(raw, BaseModel) else raw
    kind = CITATIONS.get(str(data.get("type"))) if isinstance(data, dict) else None
    if kind is None or not isinstance(data, dict):
        return None
    if text is not None:
        data = {key: _within(text, value) if key in ("index", "end_index") else value for key, value in data.items()}
    try:
        cited = kind.model_validate(data)
    except ValidationError:
        return None
    if isinstance(cited, AnnotationFileCitation) and (document := documents.get(cited.file_id)) is not None:
        return _named(cited, document)
    return cited


def _named(cited: AnnotationFileCitation, document: Document) -> BaseModel:
    if document.url is None:
        return cited.model_copy(update={"filename": document.title or cited.filename})
    return AnnotationURLCitation(
        type="url_citation",
        title=document.title or cited.filename,
        url=document.url,
        start_index=cited.index,
        end_index=cited.index,
    )


def _within(text: str, index: object) -> object:
    return max(0, min(index, len(text))) if isinstance(index, int) else index


def _content(part: Event, documents: Documents) -> Event | None:
    match getattr(part, "type", None):
        case "output_text":
            text = _text(part.text)
            cited = (citation(note, text, documents) for note in getattr(part, "annotations", None) or ())
            return part.model_copy(update={"text": text, "annotations": [note for note in cited if note is not None]})
        case "refusal":
            return part.model_copy(update={"refusal": _text(part.refusal)})
        case "reasoning_text":
            return part
        case _:
            return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _delta(event: Event) -> Event | None:
    if type(event.content_index) is int and type(event.item_id) is str and type(event.delta) is str:
        return event  # one per word, so nothing is copied
    return _placed(event, delta=event.delta) if isinstance(event.delta, str) else None


def _placed(event: Event, **repaired: object) -> Event:
    at = {"item_id": _text(event.item_id), "content_index": _number(event.content_index)}
    return event.model_copy(update=at | repaired)


def _part_added(event: Event, *, documents: Documents) -> Event | None:
    part = _content(event.part, documents)
    return None if part is None else _placed(event, part=part)


def _text_done(event: Event) -> Event | None:
    return _placed(event) if isinstance(event.text, str) else None


def _annotation_added(event: Event, *, documents: Documents) -> Event | None:
    annotation = citation(event.annotation, documents=documents)
    return None if annotation is None else _placed(event, annotation=annotation)


def _item(event: Event, *, documents: Documents) -> Event | None:
    item = event.item
    match getattr(item, "type", None):
        case "message":
            content = [
                content_part for part in item.content or () if (content_part := _content(part, documents)) is not None
            ]
            return event.model_copy(update={"item": item.model_copy(update={"id": _text(item.id), "content": content})})
        case "image_generation_call" if item.result is not None:
            result = item.result if _is_base64(item.result) else None
            return event.model_copy(update={"item": item.model_copy(update={"id": _text(item.id), "result": result})})
        case None:
            return None
        case _:
            return event


def _partial_image(event: Event) -> Event | None:
    if not _is_base64(event.partial_image_b64):
        return None
    return event.model_copy(
        update={"item_id": _text(event.item_id), "partial_image_index": _number(event.partial_image_index)}
    )


def _is_base64(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(base64.b64decode(value, validate=True))
    except binascii.Error:
        return False


def _thought(event: Event) -> Event | None:
    words = event.delta if event.type == "response.reasoning_summary_text.delta" else event.text
    if not isinstance(words, str):
        return None
    return event.model_copy(update={"item_id": _text(event.item_id), "summary_index": _number(event.summary_index)})


RAW_THOUGHT = -1  # the summary index of reasoning that is not a summary: never the index of one


def _raw_thought_delta(event: Event) -> Event | None:
    if not isinstance(event.delta, str):
        return None
    return r.ResponseReasoningSummaryTextDeltaEvent(
        delta=event.delta,
        item_id=_text(event.item_id),
        output_index=_number(event.output_index),
        sequence_number=_number(event.sequence_number),
        summary_index=RAW_THOUGHT,
        type="response.reasoning_summary_text.delta",
    )


def with_call_id(event: RunItemStreamEvent) -> object:
    """Give a tool call without the optional item `id` its call id, because ChatKit asserts that there is one."""
    raw = event.item.raw_item
    if not isinstance(raw, r.ResponseFunctionToolCall) or raw.id or event.item.type != "tool_call_item":
        return event
    item = SimpleNamespace(type="tool_call_item", raw_item=raw.model_copy(update={"id": raw.call_id}))
    return SimpleNamespace(type=event.type, item=item)


class Repairs:
    """The repairs of one run's events. `by_type` has one for each type that ChatKit's converter reads.

    A repair returns the event, as it is or repaired, or None to drop it.
    """

    def __init__(self) -> None:
        self._has_message = False  # whether the current response has finished a message
        self._documents: dict[str, Document] = {}  # what the file searches of this run found
        self._item = partial(_item, documents=self._documents)
        self.by_type: dict[str, Callable[[Event], Event | None]] = {
            "response.created": self._created,
            "response.output_item.added": self._item,
            "response.content_part.added": partial(_part_added, documents=self._documents),
            "response.output_text.delta": _delta,
            "response.output_text.annotation.added": partial(_annotation_added, documents=self._documents),
            "response.output_text.done": _text_done,
            "response.output_item.done": self._item_done,
            "response.reasoning_summary_text.delta": _thought,
            "response.reasoning_summary_text.done": _thought,
            "response.reasoning_text.delta": _raw_thought_delta,
            "response.image_generation_call.partial_image": _partial_image,
            "response.completed": self._completed,
        }

    def _created(self, event: Event) -> Event:
        self._has_message = False
        return event

    def _item_done(self, event: Event) -> Event | None:
        if getattr(event.item, "type", None) == "file_search_call":
            results = getattr(event.item, "results", None) or ()  # present if the tool has include_search_results=True
            self._documents.update((_text(getattr(result, "file_id", "")), Document.of(result)) for result in results)
        repaired = self._item(event)
        if repaired is not None and repaired.item.type == "message":
            self._has_message |= any(part.type != "output_text" or part.text for part in repaired.item.content)
        return repaired

    def _completed(self, event: Event) -> Event | None:
        """The finished message, if the vendor sends it only in `completed`, which ChatKit does not read."""
        output = getattr(event.response, "output", None) or ()
        messages = [item for item in output if getattr(item, "type", None) == "message"]
        if self._has_message or not messages:
            return event
        self._has_message = True
        content = [part for message in messages for part in message.content or ()]
        whole = messages[-1].model_copy(update={"content": content})
        return self._item(
            r.ResponseOutputItemDoneEvent.model_construct(item=whole, output_index=0, type="response.output_item.done")
        )
