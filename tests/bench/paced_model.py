"""A fake Responses API that streams words at a steady pace, each containing the time at which it was sent.

`python -m tests.bench.paced_model EVENTS_A_SECOND SECONDS` runs it as a process that prints its port.
"""

import asyncio
import json
import sys
import time

from lambda_src.models.demo_model import events_of, message_of

MARK = "when"  # prefix of each word


def lines_of(events: list[str]) -> bytes:
    return b"".join(f"data: {event}\n\n".encode() for event in events)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, pace_s: float, words: int) -> None:
    """Answer a request with a paced stream. A request without streaming (for a title) is refused."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        request = json.loads(await reader.readexactly(int(sizes[0])))
        if not request.get("stream"):
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        events = [event.model_dump_json() for event in events_of(message_of("DELTA"))]
        at = next(n for n, event in enumerate(events) if "output_text.delta" in event)
        writer.write(lines_of(events[:at]))
        began_s = time.monotonic()
        for number in range(words):
            await asyncio.sleep(max(0.0, began_s + number * pace_s - time.monotonic()))
            writer.write(lines_of([events[at].replace("DELTA", f"{MARK}{time.monotonic_ns()} ")]))
        writer.write(lines_of(events[at + 1 :]))
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()


async def main(events_a_second: float, seconds: float) -> None:
    words = int(events_a_second * seconds)
    server = await asyncio.start_server(
        lambda reader, writer: serve(reader, writer, pace_s=1 / events_a_second, words=words), "127.0.0.1", 0
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), float(sys.argv[2])))
