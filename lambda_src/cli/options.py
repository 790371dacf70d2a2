"""The store that a command works on, as its options select it. Imports nothing heavy, so that `--help` is fast."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LOCAL = "http://127.0.0.1:8000"  # where `make dev` is
LOCAL_AWS = Path(".local/data/aws.json")  # how to reach the data of `make dev`; there while it runs
AUTHORIZATION = "authorization"  # the header with the token


@dataclass(frozen=True, slots=True)
class Place:
    """The store that contains the threads. Without `region` and `key`, environment and AWS profile decide."""

    store: Literal["dynamodb", "postgres"]
    table: str | None
    bucket: str | None
    database_url: str | None
    endpoint_url: str | None
    region: str | None = None
    key: tuple[str, str] | None = None  # access key id and secret access key

    def __str__(self) -> str:
        if self.store == "postgres":
            return "the PostgreSQL database"
        return f"table {self.table}" + (f" in {self.region}" if self.region else "")
