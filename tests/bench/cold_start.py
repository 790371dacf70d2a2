"""Measures one cold start: starts a process with a Runtime API that delivers a single request, and times its response.

Knows neither which programs are compared nor what the figures mean. Linux only.
"""

import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h11

from tests.apps.chat import message
from tests.auth.test_backend_tokens import token
from tests.bench.processes import cpu_s, peak_mib
from tests.fakes.model_api import ModelApi

KINDS = ("list", "message")
FIRST = {"list": b"has_more", "message": b"text_delta"}  # what the list or the first word contains


@dataclass
class Start:
    """One cold start: CPU and wall seconds since exec at the first `next`, the first word and the end; memory."""

    next_cpu: float
    next_wall: float
    first_cpu: float
    first_wall: float
    end_cpu: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program to start with `command` and `env` in `folder`."""

    name: str
    folder: Path
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


class RuntimeApi:
    """Delivers one event, and records when it was requested and when its response started and ended."""

    def __init__(self, event: Mapping[str, object], first: bytes) -> None:
        self.event, self.first = json.dumps(event).encode(), first
        self.pid, self.began_s = 0, 0.0
        self.at: dict[str, tuple[float, float]] = {}
        self.body = bytearray()
        self.done = asyncio.Event()

    def record(self, moment: str) -> None:
        if moment not in self.at:
            self.at[moment] = cpu_s(self.pid), time.perf_counter() - self.began_s

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        is_next = False
        while data := await reader.read(1 << 16):
            http.receive_data(data)
            while (part := http.next_event()) is not h11.NEED_DATA:
                match part:
                    case h11.Request():
                        is_next = part.target.endswith(b"/next")
                    case h11.EndOfMessage():
                        self.respond(writer, is_next=is_next)
                        http = h11.Connection(h11.SERVER)  # the runtime sends no other request before the response
                    case h11.Data(data=body):
                        self.body += body
                        if self.first in self.body:
                            self.record("first")

    def respond(self, writer: asyncio.StreamWriter, *, is_next: bool) -> None:
        if not is_next:
            self.record("end")
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        elif "next" in self.at:
            self.done.set()
        else:
            self.record("next")
            head = "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nLambda-Runtime-Aws-Request-Id: one\r\n"
            head += "Lambda-Runtime-Deadline-Ms: %d\r\nLambda-Runtime-Invoked-Function-Arn: arn\r\n\r\n"
            deadline_ms = int(time.time() * 1000) + 60_000
            writer.write((head % (len(self.event), deadline_ms)).encode() + self.event)


def request_of(kind: str) -> dict[str, object]:
    """A first request. Every message is unique, because identical bytes would count as a retry and be replayed."""
    if kind == "list":
        return {"type": "threads.list", "params": {}}
    return {"type": "threads.create", "params": {"input": message(uuid.uuid4().hex)}}


def event_of(body: Mapping[str, object]) -> dict[str, object]:
    """The event that a function URL makes of a POST /chatkit."""
    http = {"method": "POST", "path": "/chatkit", "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1"}
    headers = {"content-type": "application/json", "authorization": token(), "host": "chat.test"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/chatkit",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {"http": http, "stage": "$default"},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


async def start_once(contestant: Contestant, kind: str, env: Mapping[str, str], model: ModelApi) -> Start:
    """Start a program, let it answer one request, and kill it. Raises a RuntimeError with its output if it fails."""
    api = RuntimeApi(event_of(request_of(kind)), FIRST[kind])
    model_calls_before = len(model.requests)
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with tempfile.TemporaryFile() as output:
        api.began_s = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *contestant.command,
            cwd=contestant.folder,
            env={**env, **contestant.env, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}"},
            stdout=output,
            stderr=output,
        )
        api.pid = process.pid
        ended = asyncio.create_task(process.wait())
        done = asyncio.create_task(api.done.wait())
        await asyncio.wait({ended, done}, timeout=120, return_when=asyncio.FIRST_COMPLETED)
        if "first" not in api.at or not done.done():
            output.seek(0)
            raise RuntimeError(f"{contestant.name}: {output.read()[-3000:].decode()} {bytes(api.body)[:500]!r}")
        peak = peak_mib(process.pid)
        process.kill()
        await ended
    server.close()
    if len(model.requests) - model_calls_before != (kind == "message"):
        raise RuntimeError(
            f"{contestant.name}: a {kind} called the model {len(model.requests) - model_calls_before} times"
        )
    next_, first, end = api.at["next"], api.at["first"], api.at["end"]
    return Start(next_[0], next_[1], first[0], first[1], end[0], peak)
