"""Where a command finds what it works on: what its options say. Imports nothing, so that `--help` answers at once."""

from dataclasses import dataclass
from typing import Literal

LOCAL = "http://127.0.0.1:8000"  # where `make dev` is
AUTHORIZATION = "authorization"  # the header with the token


@dataclass(frozen=True, slots=True)
class Place:
    """Where the threads are: the options that all commands share."""

    store: Literal["dynamodb", "postgres"]
    table: str | None
    bucket: str | None
    database_url: str | None
    endpoint_url: str | None
