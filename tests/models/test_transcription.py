"""Dictation (speech to text): accepted and refused audio, requests to the transcription API, and its errors."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chatkit.types import AudioInput

from lambda_src import rotating_secret
from lambda_src.composition.app import dictation
from lambda_src.errors import RequestError, UnavailableError
from lambda_src.models.providers import openai_client
from lambda_src.models.transcription import Dictation, Transcript
from lambda_src.settings import MAX_BODY_BYTES, Settings
from tests.apps.full import FullApp, full_app_without_files

SECRET = "marker-7d1f"
WEBM = b"\x1a\x45\xdf\xa3 and sound"


@pytest.fixture
def full_app() -> FullApp:
    return full_app_without_files()


def sent(data: bytes, mime_type: str = "audio/webm;codecs=opus") -> dict[str, Any]:
    return {"audio_base64": base64.b64encode(data).decode(), "mime_type": mime_type}


async def transcribe(audio: AudioInput) -> Transcript:
    return Transcript(f"{len(audio.data)} bytes of {audio.media_type}")


async def test_a_recording_is_transcribed(full_app: FullApp) -> None:
    answer = await full_app.chat(transcribe=transcribe)("input.transcribe", **sent(WEBM))
    assert answer.json == {"text": f"{len(WEBM)} bytes of audio/webm"}


@pytest.mark.parametrize(("audio_bytes", "status"), [(740_000, 200), (750_000, 413)])
async def test_a_recording_may_be_as_long_as_documented(full_app: FullApp, audio_bytes: int, status: int) -> None:
    answer = await full_app.chat(transcribe=transcribe, max_body_bytes=MAX_BODY_BYTES)(
        "input.transcribe", **sent(WEBM.ljust(audio_bytes, b"\0"))
    )
    assert answer.status == status


@pytest.mark.parametrize(
    "params",
    [
        sent(b"<html>"), sent(b""), sent(b"OggS", "audio/webm"), sent(WEBM, "video/mp4"), sent(WEBM, ""),
        {**sent(WEBM), "audio_base64": "not base64!"}, {**sent(WEBM), "audio_base64": "\u00e9"},
    ],
    ids=["html", "empty", "another type", "video", "untyped", "not base64", "not ascii"],
)  # fmt: skip
async def test_invalid_audio_is_refused_with_a_message(full_app: FullApp, params: dict[str, Any]) -> None:
    answer = await full_app.chat(transcribe=transcribe)("input.transcribe", **params)
    assert (answer.status, answer.json["error"]) == (422, "invalid_request")


@asynccontextmanager
async def speech_api(status: str, body: bytes, *, key: str = "") -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve a wire-level fake of the transcription API to callers with the key; yield its URL and requests."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        requests.append(head + await reader.readexactly(length))
        answer_status = status if f"bearer {key}" in head.decode().lower() else "401 Unauthorized"
        writer.write(
            f"HTTP/1.1 {answer_status}\r\ncontent-type: application/json\r\nretry-after-ms: 1\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


AUDIO = AudioInput(data=WEBM, mime_type="audio/webm;codecs=opus")


async def test_the_audio_is_sent_with_a_file_name_that_the_api_recognizes() -> None:
    fake = speech_api("200 OK", b'{"text": "hello"}')
    async with fake as (url, requests), openai_client("key", base_url=url) as client:
        assert await Dictation(lambda: client, model="some-model")(AUDIO) == Transcript("hello")
    assert b"POST /audio/transcriptions" in requests[0]
    assert b'filename="audio.webm"' in requests[0]
    assert WEBM in requests[0]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("400 Bad Request", RequestError),
        ("401 Unauthorized", UnavailableError),
        ("429 Too Many", UnavailableError),
        ("500 No", UnavailableError),
    ],
)
async def test_a_refusal_of_the_api_becomes_one_of_our_errors(status: str, error: type[Exception]) -> None:
    fake = speech_api(status, b'{"error": {"message": "secret"}}')
    async with fake as (url, _), openai_client("key", base_url=url) as client:
        with pytest.raises(error) as raised:
            await Dictation(lambda: client, model="some-model")(AUDIO)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "body", "explanation", "fields"),
    [
        ("404 Not Found", {"message": SECRET, "code": "model_not_found"}, "model is no longer available",
         {"kind": "model_gone", "status": 404, "code": "model_not_found"}),
        ("400 Bad Request", {"message": "Invalid model name passed in model=x"}, "model is no longer available",
         {"kind": "model_gone", "status": 400}),
        ("401 Unauthorized", {"message": SECRET, "code": "invalid_api_key"}, "Ask the operator",
         {"kind": "wrong_key", "status": 401, "code": "invalid_api_key"}),
        ("429 Too Many", {"message": SECRET, "code": "insufficient_quota"}, "Ask the operator",
         {"kind": "no_credit", "status": 429, "code": "insufficient_quota"}),
        ("500 No", {"message": SECRET}, "Try again", {"kind": "unreachable", "status": 500}),
    ],
)  # fmt: skip
async def test_a_failure_not_caused_by_the_recording_is_explained_and_logged_with_the_model(
    status: str, body: dict[str, str], explanation: str, fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    fake = speech_api(status, json.dumps({"error": body}).encode())
    async with fake as (url, _), openai_client("key", base_url=url) as client:
        with pytest.raises(UnavailableError, match=explanation) as raised:
            await Dictation(lambda: client, model="some-model")(AUDIO)
    (line,) = [vars(record) for record in caplog.records if record.msg == "dictation_failed"]
    assert {name: line[name] for name in ("kind", "status", "code", "model") if name in line} == {
        **fields,
        "model": "some-model",
    }
    assert SECRET not in f"{raised.value} {line}"


async def test_a_refused_dictation_reads_the_changed_key_and_retries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rotating_secret, "REREAD_S", 0)
    keys = ["old", "new", "new"]
    async with speech_api("200 OK", b'{"text": "hello"}', key="new") as (url, requests):
        stage = Settings(store="memory", model_base_url=url, dictation_model="my-transcriber")
        transcribe = dictation(lambda: keys.pop(0), stage)
        assert [await transcribe(AUDIO), await transcribe(AUDIO)] == [Transcript("hello"), Transcript("hello")]
    assert [b"Bearer new" in request for request in requests] == [False, True, True]
    assert all(WEBM in request and b"my-transcriber" in request for request in requests)
