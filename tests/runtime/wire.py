"""A Runtime API that follows AWS's documentation, and a transcript of all that a runtime sends to it, for test_wire.py.

Every name is spelled out as AWS documents it. The runtime is passed in as a package, so that a copy can be tested too.
"""

import asyncio
import json
import logging
from base64 import b64decode
from types import ModuleType
from typing import Any, Protocol

import h11

PREFIX = "/2018-06-01/runtime"
ENV = {
    "AWS_LAMBDA_RUNTIME_API": "set by the test",
    "_HANDLER": "app.handler",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "AWS_LAMBDA_MAX_CONCURRENCY": "3",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
    "AWS_LAMBDA_LOG_FORMAT": "JSON",
    "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
    "_LAMBDA_TELEMETRY_LOG_FD": "7",
    "AWS_LAMBDA_FUNCTION_NAME": "chat",
    "AWS_LAMBDA_FUNCTION_VERSION": "4",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    "AWS_LAMBDA_LOG_GROUP_NAME": "group",
    "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
}
REFUSED = ("refused", 400, b'{"errorMessage":"","errorType":"TruncatedHTTPRequest"}')
KINDS = ("streamed", "raises", "raises midstream", "buffered", "refused")


class Runtime(Protocol):
    """Imports a module of the runtime by its last name."""

    def __call__(self, name: str, /) -> ModuleType: ...


class DocumentedApi:
    """Delivers an invocation of each kind, and records each request as `[method, path, headers, body, trailers]`."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.delivered_all = asyncio.Event()
        self._left = list(KINDS)
        self._writers: list[asyncio.StreamWriter] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        body = b""
        request = h11.Request(method="GET", target="/", headers=[("host", "none")])
        try:
            while data := await reader.read(65536):
                http.receive_data(data)
                while (event := http.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                    match event:
                        case h11.Request():
                            request, body = event, b""
                        case h11.Data(data=more):
                            body += more
                            if b"refused" in body:
                                self.respond(writer, *REFUSED[1:])
                        case h11.EndOfMessage(headers=trailers):
                            self.take(request, body, dict(trailers), writer)
                            rest, _ = http.trailing_data
                            http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
                            if rest:
                                http.receive_data(rest)
        except (h11.RemoteProtocolError, OSError) as fault:
            self.received.append(type(fault).__name__)
        finally:
            writer.transport.abort()

    def take(
        self, request: h11.Request, body: bytes, trailers: dict[bytes, bytes], writer: asyncio.StreamWriter
    ) -> None:
        if writer not in self._writers:
            self.received.append("a connection is used after its last response")
        path = request.target.decode()
        headers = {name.decode(): value.decode() for name, value in request.headers if name != b"host"}
        content: Any = body
        if headers.get("content-type") == "application/vnd.aws.lambda.error+json":
            content = normalized(json.loads(body))
        if (cause := headers.get("lambda-runtime-function-xray-error-cause")) is not None:
            headers["lambda-runtime-function-xray-error-cause"] = normalized(json.loads(cause))
        ends = {name.decode().lower(): value.decode() for name, value in trailers.items()}
        if (encoded := ends.get("lambda-runtime-function-error-body")) is not None:
            ends["lambda-runtime-function-error-body"] = normalized(json.loads(b64decode(encoded)))
        headers.pop("content-length", None)  # varies with the file names in the body
        self.received.append([request.method.decode(), path, headers, content, ends])
        match request.method.decode(), path.removeprefix(PREFIX):
            case "GET", "/invocation/next":
                self.deliver(writer)
            case "GET", "/restore/next":
                self.respond(writer, 200, b"{}")
            case "POST", "/init/error" | "/restore/error" | "/invocation/r-1/response" | "/invocation/r-1/error":
                self.respond(writer, 202, b'{"status":"OK"}')
            case _:
                self.respond(writer, 404, b"{}")

    def deliver(self, writer: asyncio.StreamWriter) -> None:
        if not self._left:
            self.delivered_all.set()
            return
        kind = self._left.pop(0)
        lines = [
            "Lambda-Runtime-Aws-Request-Id: r-1",
            "Lambda-Runtime-Deadline-Ms: 60000",
            "Lambda-Runtime-Invoked-Function-Arn: arn",
            "Lambda-Runtime-Trace-Id: Root=1",
            "Lambda-Runtime-Invocation-Id: i-1",
        ]
        event = json.dumps(kind).encode()
        match kind:
            case "raises":  # the last response on this connection
                self.respond(writer, 200, event, *lines, version="HTTP/1.0")
                self._writers.remove(writer)
            case "buffered":
                head = "\r\n".join(["HTTP/1.1 200 OK", *lines, "Transfer-Encoding: chunked", "", ""])
                writer.write(head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event))
            case _:
                self.respond(writer, 200, event, *lines)

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    @staticmethod
    def respond(writer: asyncio.StreamWriter, status: int, body: bytes, *lines: str, version: str = "HTTP/1.1") -> None:
        head = "\r\n".join([f"{version} {status} Status", *lines, f"Content-Length: {len(body)}", "", ""])
        writer.write(head.encode() + body)


def normalized(value: Any) -> Any:
    """`value` without files, lines and folders, which differ between machines, and without the text of messages."""
    match value:
        case {"errorMessage": str(text), "stackTrace": list(), **rest}:
            return {"errorMessage": bool(text), "stackTrace": [], **rest}
        case {
            "exceptions": [{"stack": list(stack), "message": str(text), **rest}],
            "working_directory": str(folder),
            **more,
        }:
            frame = dict.fromkeys(stack[-1], "") if stack else {}
            return {
                "working_directory": bool(folder),
                "exceptions": [{"stack": [frame], "message": bool(text), **rest}],
                **{key: isinstance(paths, list) for key, paths in more.items()},
            }
        case _:
            return value


async def transcript(runtime: Runtime) -> list[Any]:
    """All that this runtime sends, logs and passes to its handler, from failed starts to the end of a sandbox."""
    api = DocumentedApi()
    server = await asyncio.start_server(api.connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    log = Log()
    logger = logging.getLogger(runtime("worker").__name__.rpartition(".")[0])
    logger.addHandler(log)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        async with asyncio.timeout(2):
            observed = await run_through(runtime, api, f"{host}:{port}")
    finally:
        logger.removeHandler(log)
        logger.setLevel(level)
        server.close()
        api.close()
        await server.wait_closed()
    return [*observed, *api.received, log.messages]


class Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[str, bool]] = []  # the message, and whether the record has a stack

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append((record.getMessage(), "stack" in vars(record)))


async def run_through(runtime: Runtime, api: DocumentedApi, address: str) -> list[Any]:
    environment_module, main, loading = runtime("environment"), runtime("__main__"), runtime("loading")
    client = runtime("client").RuntimeClient(address, pause=no_pause)
    observed: list[Any] = [vars_of(environment_module.Environment.from_env(ENV))]
    failures = [caught(environment_module.Environment.from_env, {})]
    failures += [caught(environment_module.check_switches, {"CHAT_RUNTIME_X": "1"})]
    failures += [caught(loading.load, name) for name in ("x", "nowhere_at_all.x", "json.nothing", "json.__name__")]
    failures.append(caught(compile, "def:", "", "exec"))
    for failure in failures:
        kind = loading.kind_of(failure)
        await main.refuse_to_start(client, failure, kind, exit_code=1)
    observed.append(await main.snapshot_and_restore(client))
    snapstart = runtime("snapstart")
    for hook in ("run_after_restore", "run_before_snapshot"):
        setattr(snapstart, hook, fail)
        observed.append(await main.snapshot_and_restore(client))

    env: dict[str, str] = {}

    class Handler(runtime("handler").StreamingHandler):  # type: ignore[misc]  # the base class comes from the runtime under test
        async def stream(self, event: Any, context: Any, reply: Any) -> None:
            if event == "streamed":
                fields = {name: value for name, value in vars(context).items() if name != "_clock"}
                observed.append([fields, dict(env)])
            if event == "buffered":
                await reply.buffered(b'"buffered"')
            else:
                scope = {"type": "http", "method": "GET"}
                await runtime("cycle").HttpCycle(scope, b"", reply).run(app_for(event))

    environment = environment_module.Environment(api=address, handler="h", function_name="chat", memory_mb=512)
    worker = runtime("worker").Worker(Handler(), environment, clock=lambda: 0.0, trace_env=env)
    serving = asyncio.ensure_future(worker.run([client]))
    done = asyncio.ensure_future(api.delivered_all.wait())
    try:
        await asyncio.wait({serving, done}, return_when=asyncio.FIRST_COMPLETED)
        worker.end()
        await serving
    finally:
        done.cancel()
        serving.cancel()
        client.close()
    return observed


def app_for(kind: str) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if kind == "raises":
            raise KeyError("k")
        headers = [(b"content-type", b"text/plain"), (b"set-cookie", b"a=1")]
        headers += [(b"content-length", b"9"), (b"transfer-encoding", b"gzip")]  # hop-by-hop
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": kind.encode(), "more_body": True})
        if kind == "raises midstream":
            raise KeyError("k")
        if kind == "refused":
            await asyncio.Event().wait()
        await send({"type": "http.response.body", "body": b"end"})

    return app


async def fail() -> None:
    raise OSError("hook")


async def no_pause(seconds: float) -> None:
    """Replaces the wait between attempts."""


def caught(call: Any, *arguments: Any) -> Exception:
    try:
        call(*arguments)
    except Exception as error:  # noqa: BLE001 - the test checks it
        return error
    raise AssertionError("nothing was raised")


def vars_of(environment: Any) -> dict[str, Any]:
    return {name: getattr(environment, name) for name in environment.__dataclass_fields__}
