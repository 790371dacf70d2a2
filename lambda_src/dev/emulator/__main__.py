"""`python -m lambda_src.dev.emulator HANDLER`: serve any handler at a function URL on this machine, until Ctrl-C."""

import argparse
import asyncio
import os
import signal

from lambda_src.dev.emulator.emulator import Emulator
from lambda_src.dev.emulator.flags import add_flags, switches_from


async def serve(flags: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Emulator(flags.handler, env=os.environ, switches=switches_from(flags), port=flags.port) as emulator:
        print(emulator.url, flush=True)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lambda_src.dev.emulator", allow_abbrev=False)
    parser.add_argument("handler", help="package.module.name, or module:app for any ASGI app")
    parser.add_argument("--port", type=int, default=8000, help="on 127.0.0.1; 0 takes a free one")
    add_flags(parser)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
