"""lambda_src/runtime/connection.py: data written in one event loop iteration is coalesced into one socket write."""

import asyncio
import socket
from typing import Any

import pytest

from lambda_src.runtime.connection import GATHERED_MAX_BYTES, Connection


class Transport(asyncio.Transport):
    """Records each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self._socket = socket.socket()

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self._socket.close()


@pytest.fixture
def transport() -> Any:
    transport = Transport()
    yield transport
    transport.abort()


def connected(transport: Transport) -> Connection:
    connection = Connection()
    connection.connection_made(transport)
    return connection


async def test_data_written_in_one_loop_iteration_is_sent_in_one_write(transport: Transport) -> None:
    connection = connected(transport)
    for event in (b"one", b"two", b"three"):
        await connection.write(event)
    assert transport.writes == []
    await asyncio.sleep(0)
    assert transport.writes == [b"onetwothree"]


async def test_data_is_not_held_back_for_later_data(transport: Transport) -> None:
    connection = connected(transport)
    for event in (b"one", b"two"):
        await connection.write(event)
        await asyncio.sleep(0)
    assert transport.writes == [b"one", b"two"]


async def test_a_request_and_a_heartbeat_do_not_overtake_pending_data(transport: Transport) -> None:
    connection = connected(transport)
    await connection.write(b"one")
    connection.write_if_idle(b": ka\n")
    await connection.write(b"two")
    answer = connection.request(b"GET")
    assert b"".join(transport.writes) == b"one: ka\ntwoGET"
    connection.connection_lost(None)
    assert answer.exception() is not None


async def test_a_large_burst_is_sent_early_so_that_its_writer_feels_backpressure(transport: Transport) -> None:
    connection = connected(transport)
    await connection.write(bytes(GATHERED_MAX_BYTES))
    await connection.write(b"more")
    assert sum(map(len, transport.writes)) == GATHERED_MAX_BYTES + 4


async def test_after_the_connection_is_lost_nothing_is_sent_and_the_next_write_raises(transport: Transport) -> None:
    connection = connected(transport)
    await connection.write(b"one")
    connection.connection_lost(None)
    await asyncio.sleep(0)
    assert transport.writes == []
    with pytest.raises(ConnectionResetError):
        await connection.write(b"two")
