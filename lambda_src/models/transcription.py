"""Dictation: speech to text by an OpenAI-compatible API. Recordings and their text are never logged."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from chatkit.types import AudioInput

from lambda_src.errors import ChatError, RequestError, UnavailableError
from lambda_src.observability.faults import log_fault

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAIError

ENDINGS: Final = {"audio/webm": "webm", "audio/ogg": "ogg", "audio/mp4": "mp4"}  # the API reads the file name's ending

DICTATION_MODEL = "gpt-transcribe"  # for `make dev`, which offers dictation wherever it has a key
BYTES_PER_SECOND = 750  # Opus at 6 kbit/s, the lowest bitrate at which browsers record
TOKENS_PER_SECOND = 15  # OpenAI counts 10 of speech; 200 words a minute of fast talking are 5 of text


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of a recording, and what it cost. The counts are None if the vendor reported none."""

    text: str
    tokens_in: int | None = None
    tokens_out: int | None = None


Transcribe = Callable[[AudioInput], Awaitable[Transcript]]


def tokens_at_most(audio_base64: str) -> int:
    """An upper bound of the tokens that a recording costs at any bitrate: those of the speech and of its text."""
    return 1 + len(audio_base64) * 3 // 4 * TOKENS_PER_SECOND // BYTES_PER_SECOND


class Dictation:
    """Transcribes with `model`; the client is built on the first dictation."""

    def __init__(self, build_client: "Callable[[], AsyncOpenAI]", *, model: str) -> None:
        self._build_client, self._model = build_client, model
        self._client: AsyncOpenAI | None = None

    async def __call__(self, audio: AudioInput) -> Transcript:
        """The text. RequestError: the API rejects the recording; UnavailableError: it fails for any other reason."""
        import openai  # noqa: PLC0415 - takes half a second, which only users who dictate should wait for

        if self._client is None:
            self._client = await asyncio.to_thread(self._build_client)
        name = f"audio.{ENDINGS.get(audio.media_type, 'webm')}"
        try:
            transcription = await self._client.audio.transcriptions.create(
                model=self._model, file=(name, audio.data, audio.media_type)
            )
        except openai.OpenAIError as error:
            raise _explained(error, self._model) from error
        usage = getattr(transcription, "usage", None)  # some vendors send none, and some count seconds
        tokens_in, tokens_out = (getattr(usage, name, None) for name in ("input_tokens", "output_tokens"))
        return Transcript(transcription.text, tokens_in, tokens_out)


def _explained(error: "OpenAIError", model: str) -> ChatError:
    """The error for the user. Failures that are not the recording's fault are logged with the vendor's code."""
    from lambda_src.models.errors import fault_of  # noqa: PLC0415 - imports the openai library

    fault = fault_of(error)
    if fault is not None and fault.kind in ("rejected", "file", "too_long", "blocked"):
        return RequestError("This recording could not be understood.")
    log_fault("dictation_failed", error, **({} if fault is None else replace(fault, model=model).log_fields()))
    match fault.kind if fault is not None else None:
        case "model_gone":
            return UnavailableError("Dictation's model is no longer available. Ask the operator to choose another.")
        case "no_credit" | "wrong_key" | "settings":
            return UnavailableError("Dictation is not set up correctly. Ask the operator to check the log.")
        case _:
            return UnavailableError("Dictation is not available at the moment. Try again.")
