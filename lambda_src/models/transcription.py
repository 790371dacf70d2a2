"""Speech to text, by an OpenAI-compatible API. Knows no thread and no HTTP; what was said is never logged."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from chatkit.types import AudioInput

from lambda_src.errors import RequestError, UnavailableError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

ENDINGS: Final = {"audio/webm": "webm", "audio/ogg": "ogg", "audio/mp4": "mp4"}  # the API goes by the file's name

BYTES_A_SECOND = 750  # Opus at 6 kbit/s, the lowest bitrate at which browsers record
TOKENS_A_SECOND = 15  # OpenAI counts 10 of speech; 200 words a minute of fast talking are 5 of text

Transcribe = Callable[[AudioInput], Awaitable[str]]


def tokens_at_most(audio_base64: str) -> int:
    """More tokens than a recording can cost, whatever its bitrate: those of the speech and those of its text."""
    return 1 + len(audio_base64) * 3 // 4 * TOKENS_A_SECOND // BYTES_A_SECOND


class Dictation:
    """Transcribes with `model`; the client is built on the first dictation."""

    def __init__(self, build_client: "Callable[[], AsyncOpenAI]", *, model: str) -> None:
        self._build_client, self._model = build_client, model
        self._client: AsyncOpenAI | None = None

    async def __call__(self, audio: AudioInput) -> str:
        """What was said. RequestError: the audio is none; UnavailableError: the API cannot be reached, or is busy."""
        import openai  # noqa: PLC0415 - half a second that nobody pays for who does not dictate

        if self._client is None:
            self._client = await asyncio.to_thread(self._build_client)
        name = f"audio.{ENDINGS.get(audio.media_type, 'webm')}"
        try:
            heard = await self._client.audio.transcriptions.create(
                model=self._model, file=(name, audio.data, audio.media_type)
            )
        except openai.BadRequestError as error:
            raise RequestError("This recording could not be understood.") from error
        except openai.OpenAIError as error:
            raise UnavailableError("Dictation is not available at the moment. Try again.") from error
        return heard.text
