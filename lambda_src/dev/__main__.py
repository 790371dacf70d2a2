"""`make dev`: the Lambda path on a laptop, from one command, until Ctrl-C. Joins emulator, local AWS and reload."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from watchfiles import PythonFilter, awatch

from lambda_src.dev.emulator import Cors, Emulator, Switches
from lambda_src.dev.emulator.flags import add_flags, switches_from
from lambda_src.dev.local_aws import BUCKET, TABLE, LocalAws, local_aws
from lambda_src.front import REQUEST_HEADERS, RESPONSE_HEADERS

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / ".local" / "data"  # git-ignored; kept between runs
SHOWCASE = "CHATKIT_SHOWCASE"  # read by dev/local.py
HANDLER = "lambda_src.dev.local.handler"
TIMEOUT_S = 300.0  # as the shipped stack sets it
LAPTOP = Cors(  # a front end of one's own, on whatever port; the headers as a deployed stage takes them
    allow_origins=("http://localhost:*", "http://127.0.0.1:*", "https://localhost:*"),
    allow_methods=("GET", "POST"),
    allow_headers=REQUEST_HEADERS,
    expose_headers=RESPONSE_HEADERS,
)

console = Console(highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Chat on your laptop through the path that Lambda runs. Ctrl-C ends every process and saves."""
    parser = argparse.ArgumentParser(prog="make dev", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8000, help="where the page and the endpoint listen, on 127.0.0.1")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that keeps the threads between runs")
    parser.add_argument("--showcase", action="store_true", help="an agent that shows what ChatKit can: docs/chatkit.md")
    add_flags(parser, timeout_s=TIMEOUT_S)
    asked = parser.parse_args(arguments)
    if asked.showcase:
        os.environ[SHOWCASE] = "1"  # inherited by the function, as everything is
    try:
        switches = switches_from(asked)
        asyncio.run(serve(port=asked.port, data=asked.data, switches=replace(switches, cors=switches.cors or LAPTOP)))
    except (OSError, RuntimeError) as problem:
        console.print(f"[red]make dev could not start:[/] {problem}")
        return 1
    return 0


async def serve(*, port: int, data: Path, switches: Switches) -> None:
    """Start everything, say where it is, reload on save; return when a signal says so."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the last: the terminal was closed
        loop.add_signal_handler(number, stop.set)
    console.print("Starting the local AWS ...")
    async with (
        local_aws(data) as aws,
        Emulator(HANDLER, env=function_env(aws), port=port, task_root=ROOT, switches=switches) as emulator,
        reloading(emulator),
    ):
        console.print(banner(emulator.url, data))
        await stop.wait()
        console.print("\nStopping, and saving the threads ...")
    console.print(f"Saved in {shown(data)}. Start again with: make dev")


def function_env(aws: LocalAws) -> dict[str, str]:
    """The environment of the local function: ours, less nothing; every AWS client in it talks to the local AWS."""
    return {**os.environ, **aws.env, "CHAT_TABLE": TABLE, "CHAT_BUCKET": BUCKET}


def banner(url: str, data: Path) -> str:
    """What a newcomer is told: where it runs, on what, and one line to try."""
    real = bool(os.environ.get("OPENAI_API_KEY"))
    model = (
        "the model of lambda_src/agent/, with your OPENAI_API_KEY"
        if real
        else "demo (set OPENAI_API_KEY for a real one)"
    )
    body = (
        '{"type":"threads.create","params":{"input":{"content":[{"type":"input_text","text":"Hello!"}],'
        '"attachments":[],"inference_options":{}}}}'
    )
    return (
        f"\n[bold]{url}[/]  the page: open it and chat\n\n"
        f"  store   DynamoDB table {TABLE} on the local AWS, kept in {shown(data)}\n"
        f"  model   {model}\n"
        f"  code    lambda_src/ is reloaded on save\n\n"
        f"Try it:\n\n  curl -N {url}/chatkit -H 'content-type: application/json' \\\n    -d '{body}'\n\n"
        "Ctrl-C stops everything and saves."
    )


def shown(folder: Path) -> str:
    """The folder as a person would type it from the project's root."""
    return f"{folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder}/"


@asynccontextmanager
async def reloading(emulator: Emulator) -> AsyncIterator[None]:
    """While this is entered, a saved Python file below lambda_src/ replaces the function's processes."""

    async def watch() -> None:
        async for changes in awatch(ROOT / "lambda_src", watch_filter=PythonFilter()):
            names = ", ".join(sorted({str(Path(path).relative_to(ROOT)) for _, path in changes}))
            console.print(f"Reloading: {names}")
            await emulator.reload()

    task = asyncio.create_task(watch(), name="reload")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


if __name__ == "__main__":
    sys.exit(main())
