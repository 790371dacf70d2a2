"""The composition root of the command line: opens the store that the options select. Knows no command."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from lambda_src.cli.options import Place
from lambda_src.context import RequestContext, User
from lambda_src.errors import SettingsError
from lambda_src.store.ports import Inspects, Sweeps, UserData

if TYPE_CHECKING:
    from chatkit.types import Page, ThreadItem

    from lambda_src.store.dynamodb import DynamoDBStore


class AdminStore(UserData, Sweeps, Inspects, Protocol):
    """What every command needs of a store."""

    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> "ThreadItem":
        """As in ChatKit's Store."""
        ...

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> "Page[ThreadItem]":
        """As in ChatKit's Store."""
        ...


def as_user(user_id: str) -> RequestContext:
    """The context of a command that acts for one user."""
    return RequestContext(user=User(user_id), request_id="chat")


def s3_client(place: Place, session: Any = None) -> Any:  # noqa: ANN401 - boto3's clients have no common type
    """An S3 client whose presigned links are SigV4: boto3's default signs less. Of a new session, if none is given."""
    from botocore.config import Config  # noqa: PLC0415 - PostgreSQL's users have none

    config = Config(signature_version="s3v4")
    return (session or _session(place)).client("s3", endpoint_url=place.endpoint_url, config=config)


def _session(place: Place) -> Any:  # noqa: ANN401 - as above
    import boto3  # noqa: PLC0415 - PostgreSQL's users have none

    key_id, secret = place.key or (None, None)
    return boto3.Session(
        region_name=place.region or os.environ.get("AWS_REGION"),
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
    )


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[AdminStore]:
    """The store, until the block ends. SettingsError: the options do not select one."""
    if place.store == "dynamodb":
        yield table_store(place)
        return
    async with database(place) as engine:
        from sqlalchemy.ext.asyncio import async_sessionmaker  # noqa: PLC0415 - DynamoDB's users have none

        from lambda_src.store.postgres import PostgresStore  # noqa: PLC0415 - as above

        ledger = None if place.table is None else table_store(place).ledger
        yield PostgresStore(async_sessionmaker(engine, expire_on_commit=False), ledger=ledger)


def table_store(place: Place) -> "DynamoDBStore":
    """The store on the table. SettingsError: the options name no table."""
    if place.table is None:
        raise SettingsError(["Name the table: --stage NAME, --local for `make dev`, or --table (CHAT_TABLE)."])
    from lambda_src.store.aws_calls import CLIENT_CONFIG  # noqa: PLC0415 - PostgreSQL's users may have no boto3
    from lambda_src.store.dynamodb import DynamoDBStore  # noqa: PLC0415 - as above

    session = _session(place)  # of both clients: it reads AWS's endpoints once
    client = session.client("dynamodb", endpoint_url=place.endpoint_url, config=CLIENT_CONFIG)
    s3 = s3_client(place, session) if place.bucket else None
    return DynamoDBStore(client, place.table, bucket=place.bucket, s3=s3)


@asynccontextmanager
async def database(place: Place) -> AsyncIterator[Any]:
    """An engine on the database. SettingsError: the options name no database."""
    if place.database_url is None:
        raise SettingsError(["Name the database: --database-url (CHAT_DATABASE_URL)."])
    from lambda_src.store.postgres import engine_of  # noqa: PLC0415 - DynamoDB's users have no SQLAlchemy

    engine = engine_of(place.database_url)
    try:
        yield engine
    finally:
        await engine.dispose()
