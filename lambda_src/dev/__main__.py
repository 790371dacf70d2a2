"""`make dev`: runs the chat on a laptop through the Lambda path, with emulator, local AWS and reload, until Ctrl-C."""

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

from lambda_src.cli.secrets.local import variable_of
from lambda_src.cli.stage import read_stage
from lambda_src.dev.admission import Admission
from lambda_src.dev.background import AGENT, going_on, reload_on_save, say_what_is_broken, sweep, tick
from lambda_src.dev.banner import banner, shown
from lambda_src.dev.emulator import Cors, Emulator, Switches
from lambda_src.dev.emulator.flags import add_flags, switches_from
from lambda_src.dev.emulator.sandboxes.sandbox import Output
from lambda_src.dev.local_aws import BUCKET, TABLE, local_aws
from lambda_src.dev.local_settings import local_settings
from lambda_src.dev.log_lines import Readable
from lambda_src.errors import SettingsError
from lambda_src.http.edge import REQUEST_HEADERS, RESPONSE_HEADERS
from lambda_src.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / ".local" / "data"  # git-ignored; kept between runs
SHOWCASE = "CHATKIT_SHOWCASE"  # read by dev/local.py
ORIGINS = "CHATKIT_ORIGINS"  # as above
NAMES = {"CHAT_TABLE": TABLE, "CHAT_BUCKET": BUCKET}
HANDLER = "lambda_src.dev.local.handler"
TIMEOUT_S = 300.0  # as the shipped stack sets it
INHERITED = re.compile(  # variables of the shell that settings, SDKs, proxies, certificates and locales need
    r"(CHAT|CHATKIT|COVERAGE|LC|OPENAI)_.+|PYTHON.*|PATH|HOME|LANG|TMPDIR|TZ|USER|(?i:(http|https|all|no)_proxy)"
    r"|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE"
)

NO_PROXY = "127.0.0.1,localhost"  # a company's proxy cannot reach this machine

console = Console(highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chat on your laptop, through the same path as on Lambda. Ctrl-C saves and ends every process."""
    parser = argparse.ArgumentParser(prog="make dev", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--port", type=_port, default=8000, help="port of the page and the endpoint, on 127.0.0.1")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that keeps the threads between runs")
    parser.add_argument("--showcase", action="store_true", help="an agent that shows ChatKit's features")
    parser.add_argument(
        "--support", action="store_true", help="people can answer: /operator is their page, and you are one of them"
    )
    parser.add_argument(
        "--origin", action="append", default=[], type=origin_of, metavar="ORIGIN",
        help="allow this origin's pages, also to embed ours: http://localhost:5173 (http://localhost:* is every port)",
    )  # fmt: skip
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME",
        help="pass this variable of the shell to the function, beside those that start with CHAT_ or OPENAI_",
    )  # fmt: skip
    parser.add_argument(
        "--raw-log", action="store_true", help="print the function's log as Lambda would get it, with metrics"
    )
    add_flags(parser, timeout_s=TIMEOUT_S)
    options = parser.parse_args(arguments)
    switches = switches_from(options)
    become_local(os.environ)
    if options.showcase:
        os.environ[SHOWCASE] = "1"  # the function inherits it
    if options.support:
        os.environ.setdefault("CHAT_OPERATORS", "{}")  # as above
    origins = (*options.origin, *(switches.cors.allow_origins if switches.cors else ()))
    os.environ[ORIGINS] = " ".join(origins)
    try:
        settings = local_settings({**os.environ, **NAMES})
        with listening(options.port) as listener:
            asyncio.run(
                serve(
                    listener,
                    data=options.data,
                    settings=settings,
                    switches=replace(switches, cors=switches.cors or laptop(options.origin)),
                    origins=origins,
                    env={**of_the_stage(ROOT / "cdk.json", os.environ), **inherited(os.environ, more=options.env)},
                    log=sys.stdout if options.raw_log else Readable(sys.stdout),
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
    """Start everything, print the address, reload on save, and return on SIGINT, SIGTERM or SIGHUP.

    RuntimeError: the local AWS did not start or ended unexpectedly.
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
        going_on(
            reload_on_save(emulator, say),
            sweep(emulator, say),
            *([tick(emulator, say)] if settings.operators is not None else []),
            say=say,
        ),
    ):
        console.print(banner(emulator.url, data, settings, os.environ))
        await stop.wait()
        console.print(
            "\nThe local AWS is gone: stopping ..." if lost.is_set() else "\nStopping, and saving the threads ..."
        )
    console.print(f"Saved in {shown(data)}. Start again with: make dev")


def laptop(origins: Sequence[str]) -> Cors:
    """CORS for pages of these origins, with the methods and headers of a deployed stage."""
    return Cors(
        allow_origins=tuple(origins),
        allow_methods=("GET", "POST"),
        allow_headers=REQUEST_HEADERS,
        expose_headers=RESPONSE_HEADERS,
    )


def inherited(env: Mapping[str, str], *, more: Sequence[str] = ()) -> dict[str, str]:
    """The variables of the shell that the function gets: an allowlist (INHERITED), and those that `--env` names.

    A model controls the agent's tools, so they should not have access to every token in a shell.
    """
    return {name: value for name, value in env.items() if name in more or INHERITED.fullmatch(name)}


def of_the_stage(cdk_json: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The stage's `environment`, and those of its secrets that the shell sets. The shell's values take precedence."""
    try:
        stage = read_stage(cdk_json, None)
    except SettingsError as wrong:
        say(f"{wrong.faults[0]} Your tools get no variables of a stage.")
        return {}
    names = [*stage.environment, *map(variable_of, stage.secrets)]
    return {**stage.environment, **{name: env[name] for name in names if name in env}}


def become_local(env: MutableMapping[str, str]) -> None:
    """Remove AWS_* from `env` and exclude this machine from proxies, so that AWS clients use the local AWS only."""
    for name in [name for name in env if name.startswith("AWS_")]:
        del env[name]
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(part for part in (env.get(name), NO_PROXY) if part)


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket that listens on the port; callers wait until we serve. RuntimeError if the port is in use."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError as fault:
            if fault.errno != errno.EADDRINUSE:
                raise RuntimeError(f"Port {port} is not available: {fault.strerror}. Try PORT=8123.") from fault
            raise RuntimeError(
                f"Port {port} is in use. Stop the program that uses it, or run: make dev PORT={port % 65535 + 1}"
            ) from fault
        yield listener


def say(text: str) -> None:
    """Print a line of `make dev` itself between those of the function."""
    console.print(escape(text))


def origin_of(text: str) -> str:
    """An origin on the command line; ArgumentTypeError for anything else."""
    parts = urlsplit(text.removesuffix(":*"))
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or text.removesuffix(":*") != f"{parts.scheme}://{parts.netloc}"
    ):
        raise argparse.ArgumentTypeError(f"must be an origin such as http://localhost:5173, but is {text!r}")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 (any) to 65535, but is {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
