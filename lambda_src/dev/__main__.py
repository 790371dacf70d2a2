"""`make dev`: the Lambda path on a laptop, from one command, until Ctrl-C. Joins emulator, local AWS and reload."""

import argparse
import asyncio
import errno
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape

from lambda_src.cli.local_secrets import variable_of
from lambda_src.cli.stage import read_stage
from lambda_src.dev.admission import Admission
from lambda_src.dev.background import AGENT, going_on, reload_on_save, say_what_is_broken, sweep
from lambda_src.dev.banner import banner, shown
from lambda_src.dev.emulator import Cors, Emulator, Switches
from lambda_src.dev.emulator.flags import add_flags, switches_from
from lambda_src.dev.emulator.sandbox import Output
from lambda_src.dev.local_aws import BUCKET, TABLE, local_aws
from lambda_src.dev.local_settings import local_settings
from lambda_src.dev.log_lines import Readable
from lambda_src.errors import SettingsError
from lambda_src.http.edge import REQUEST_HEADERS, RESPONSE_HEADERS
from lambda_src.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / ".local" / "data"  # git-ignored; kept between runs
SHOWCASE = "CHATKIT_SHOWCASE"  # read by dev/local.py
NAMES = {"CHAT_TABLE": TABLE, "CHAT_BUCKET": BUCKET}
HANDLER = "lambda_src.dev.local.handler"
TIMEOUT_S = 300.0  # as the shipped stack sets it
HANDED_DOWN = re.compile(  # of the shell's environment: what settings, SDKs, proxies, certificates and locales need
    r"(CHAT|CHATKIT|COVERAGE|LC|OPENAI)_.+|PYTHON.*|PATH|HOME|LANG|TMPDIR|TZ|USER|(?i:(http|https|all|no)_proxy)"
    r"|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE"
)

NO_PROXY = "127.0.0.1,localhost"  # a company's proxy has no way to this machine

console = Console(highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Chat on your laptop through the path that Lambda runs. Ctrl-C ends every process and saves."""
    parser = argparse.ArgumentParser(prog="make dev", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--port", type=_port, default=8000, help="where the page and the endpoint listen, on 127.0.0.1")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that keeps the threads between runs")
    parser.add_argument("--showcase", action="store_true", help="an agent that shows what ChatKit can: docs/chatkit.md")
    parser.add_argument(
        "--origin", action="append", default=[], type=origin_of, metavar="ORIGIN",
        help="let pages of this origin in, say http://localhost:5173 (http://localhost:* is every port)",
    )  # fmt: skip
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME",
        help="hand this variable of the shell down to the function, beside those that start with CHAT_ or OPENAI_",
    )  # fmt: skip
    parser.add_argument(
        "--raw-log", action="store_true", help="the function's log as Lambda would get it, with metrics"
    )
    add_flags(parser, timeout_s=TIMEOUT_S)
    asked = parser.parse_args(arguments)
    switches = switches_from(asked)
    become_local(os.environ)
    if asked.showcase:
        os.environ[SHOWCASE] = "1"  # inherited by the function, as everything is
    try:
        settings = local_settings({**os.environ, **NAMES})
        with listening(asked.port) as listener:
            asyncio.run(
                serve(
                    listener,
                    data=asked.data,
                    settings=settings,
                    switches=replace(switches, cors=switches.cors or laptop(asked.origin)),
                    origins=(*asked.origin, *(switches.cors.allow_origins if switches.cors else ())),
                    env={**of_the_stage(ROOT / "cdk.json", os.environ), **handed_down(os.environ, more=asked.env)},
                    log=sys.stdout if asked.raw_log else Readable(sys.stdout),
                )
            )
    except SettingsError as wrong:
        for fault in wrong.faults:
            console.print(f"[red]make dev:[/] {escape(fault)}")
        return 1
    except (OSError, RuntimeError) as problem:
        console.print(f"[red]make dev:[/] {escape(str(problem) or type(problem).__name__)}")
        return 1
    return 0


async def serve(
    listener: socket.socket,
    *,
    data: Path,
    settings: Settings,
    switches: Switches,
    origins: Sequence[str],
    env: Mapping[str, str],
    log: Output,
) -> None:
    """Start everything, say where it is, reload on save; return when a signal says so.

    RuntimeError: the local AWS did not start, or ended before its time.
    """
    stop, lost = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the last: the terminal was closed
        loop.add_signal_handler(number, stop.set)

    def on_death() -> None:
        lost.set()
        stop.set()

    console.print("Starting the local AWS ...")
    say_what_is_broken(AGENT.rglob("*.py"), say)
    async with (
        local_aws(data, on_death=on_death) as aws,
        Emulator(
            HANDLER,
            env={**env, **aws.env, **NAMES},
            admit=Admission(listener.getsockname()[1], origins, warn=say),
            listener=listener,
            task_root=ROOT,
            switches=switches,
            output=log,
        ) as emulator,
        going_on(reload_on_save(emulator, say), sweep(emulator, say), say=say),
    ):
        console.print(banner(emulator.url, data, settings, os.environ))
        await stop.wait()
        console.print(
            "\nThe local AWS is gone: stopping ..." if lost.is_set() else "\nStopping, and saving the threads ..."
        )
    console.print(f"Saved in {shown(data)}. Start again with: make dev")


def laptop(origins: Sequence[str]) -> Cors:
    """CORS for pages of these origins; methods and headers as a deployed stage takes them."""
    return Cors(
        allow_origins=tuple(origins),
        allow_methods=("GET", "POST"),
        allow_headers=REQUEST_HEADERS,
        expose_headers=RESPONSE_HEADERS,
    )


def handed_down(env: Mapping[str, str], *, more: Sequence[str] = ()) -> dict[str, str]:
    """What the function gets of the shell's environment: an allow-list (HANDED_DOWN), and what `--env` names.

    A tool of an agent is driven by a model, so it should not find every token that a shell holds.
    """
    return {name: value for name, value in env.items() if name in more or HANDED_DOWN.fullmatch(name)}


def of_the_stage(cdk_json: Path, env: Mapping[str, str]) -> dict[str, str]:
    """What the stage gives its tools: its `environment`, and secrets that the shell sets. The shell's values win."""
    try:
        stage = read_stage(cdk_json, None)
    except SettingsError as wrong:
        say(f"{wrong.faults[0]} So your tools get none of a stage's variables.")
        return {}
    names = [*stage.environment, *map(variable_of, stage.secrets)]
    return {**stage.environment, **{name: env[name] for name in names if name in env}}


def become_local(env: MutableMapping[str, str]) -> None:
    """Take out of `env` what would lead an AWS client elsewhere than to the local AWS: the shell's AWS_*, proxies."""
    for name in [name for name in env if name.startswith("AWS_")]:
        del env[name]
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(part for part in (env.get(name), NO_PROXY) if part)


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """The port, taken: whoever comes waits until we serve. RuntimeError when it is another's."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError as fault:
            if fault.errno != errno.EADDRINUSE:
                raise RuntimeError(f"Port {port} cannot be had: {fault.strerror}. Use PORT=8123, say.") from fault
            raise RuntimeError(
                f"Port {port} is taken. End what runs there, or use another: make dev PORT={port % 65535 + 1}"
            ) from fault
        yield listener


def say(text: str) -> None:
    """A line of our own among the function's."""
    console.print(escape(text))


def origin_of(text: str) -> str:
    """The origin that a flag names; ArgumentTypeError for anything else."""
    parts = urlsplit(text.removesuffix(":*"))
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or text.removesuffix(":*") != f"{parts.scheme}://{parts.netloc}"
    ):
        raise argparse.ArgumentTypeError(f"must be an origin like http://localhost:5173, and is {text!r}")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port, 0 (any) to 65535, and is {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
