"""Builds the stores of threads, turns, counters and files from the settings. Part of the composition root."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lambda_src.composition.aws import Clients
from lambda_src.observability.logs import count_row
from lambda_src.quotas.file_quota import FileQuota
from lambda_src.quotas.source_addresses import Callers, MemoryDayKeys
from lambda_src.settings import Settings
from lambda_src.store.counters import Counters, MemoryCounters
from lambda_src.store.ports import NewThreads, TurnLedger
from lambda_src.store.usage import MemoryUsage, UsageRows

if TYPE_CHECKING:
    from lambda_src.attachments.files import Files
    from lambda_src.store.dynamodb import DynamoDBStore
    from lambda_src.store.inbox import Inbox
    from lambda_src.store.memory.store import MemoryStore
    from lambda_src.store.postgres import PostgresStore

    ChatStore = DynamoDBStore | MemoryStore | PostgresStore

S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
DAY_S = 24 * 3600
FILE_THREADS = 8  # a message has up to ten files; a turn without files starts no thread
STORE_THREADS = 32  # boto3 blocks: enough for the calls of about ten turns; Lambda's default would be 5 or 6


def upload_origin(settings: Settings, aws: Clients) -> str | None:
    """The origin of the bucket's presigned URLs, which the page may upload to; None without a bucket or a region.

    If AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names another S3, botocore builds the URL: it may put the bucket into the
    host name, and other settings can override both variables.
    """
    if settings.bucket is None:
        return None
    if not any(os.environ.get(name) for name in S3_ENDPOINTS):  # as on Lambda: creates no client
        region = os.environ.get("AWS_REGION")
        return f"https://{settings.bucket}.s3.{region}.amazonaws.com" if region else None
    from botocore import UNSIGNED  # noqa: PLC0415 - only what is chosen is loaded
    from botocore.config import Config  # noqa: PLC0415 - as above

    from lambda_src.attachments.s3_files import SIGNING_CONFIG  # noqa: PLC0415 - imports botocore

    s3 = aws.client("s3", SIGNING_CONFIG.merge(Config(signature_version=UNSIGNED)))
    url = urlsplit(s3.generate_presigned_url("get_object", Params={"Bucket": settings.bucket, "Key": "any"}))
    return f"{url.scheme}://{url.netloc}"


def build_files(settings: Settings, aws: Clients, counters: Counters) -> "Files | None":
    """The store of attachments, in the bucket; None without a bucket: then attachments are refused."""
    if settings.bucket is None:
        return None
    from lambda_src.attachments.file_types import FileLimits  # noqa: PLC0415 - only what is chosen is loaded
    from lambda_src.attachments.s3_files import SIGNING_CONFIG, S3AttachmentStore  # noqa: PLC0415 - imports botocore
    from lambda_src.store.aws_calls import Calls  # noqa: PLC0415 - as above

    return S3AttachmentStore(
        aws.late_client("s3", SIGNING_CONFIG),
        settings.bucket,
        calls=Calls(ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="files")),
        limits=FileLimits.up_to(settings.max_file_bytes),
        clock=time.time_ns,
        admit=FileQuota(counters, settings).admit,
    )


def build_store(settings: Settings, aws: Clients) -> tuple["ChatStore", TurnLedger]:
    """The store that CHAT_STORE names, and where its turns are kept: with the threads, where that can be.

    Beside PostgreSQL turns are on the table if CHAT_TABLE names one, else in memory: then run one process.
    """
    retention_s = settings.retention_days * DAY_S
    match settings.store:
        case "dynamodb":
            table = build_table(settings, aws)
            return table, table.ledger
        case "memory":
            from lambda_src.store.memory.store import MemoryStore  # noqa: PLC0415 - only what is chosen is loaded

            memory = MemoryStore(retention_s=retention_s)
            return memory, memory.ledger
        case "postgres":
            from sqlalchemy.ext.asyncio import async_sessionmaker  # noqa: PLC0415 - as above

            from lambda_src.store.memory.store import MemoryStore  # noqa: PLC0415 - as above
            from lambda_src.store.postgres import PostgresStore, engine_of  # noqa: PLC0415 - as above

            assert settings.database_url is not None, "Settings refuses this store without a database"
            sessions = async_sessionmaker(engine_of(settings.database_url), expire_on_commit=False)
            ledger = MemoryStore().ledger if settings.table is None else build_table(settings, aws).ledger
            return PostgresStore(sessions, retention_s=retention_s, ledger=ledger), ledger


def build_new_threads(settings: Settings, store: "ChatStore", ledger: TurnLedger) -> NewThreads | None:
    """Creates a thread and its turn in one write. None if threads and turns are not on the same table."""
    if settings.store != "dynamodb":
        return None
    from lambda_src.store.dynamodb import DynamoDBStore  # noqa: PLC0415 - only what is chosen is loaded

    assert isinstance(store, DynamoDBStore)
    return store if ledger is store.ledger else None


def build_inbox(settings: Settings, ledger: TurnLedger) -> "Inbox | None":
    """The operators' inbox, where the turns are kept. None if the stage has no operators: nothing is imported."""
    if settings.operators is None:
        return None
    from lambda_src.store.dynamodb.turns.ledger import DynamoDBLedger  # noqa: PLC0415 - only what is chosen is loaded
    from lambda_src.store.memory.ledger import MemoryLedger  # noqa: PLC0415 - as above

    assert isinstance(ledger, DynamoDBLedger | MemoryLedger), "each of our ledgers has an inbox"
    return ledger.inbox()


def build_counters(settings: Settings, store: "ChatStore", *, clock: Callable[[], int] = time.time_ns) -> Counters:
    """Counters across users: on the DynamoDB table; with other stores, in this process only."""
    if settings.store != "dynamodb":
        return MemoryCounters(clock=clock)
    from lambda_src.store.dynamodb import DynamoDBStore  # noqa: PLC0415 - only what is chosen is loaded
    from lambda_src.store.dynamodb.counters import TableCounters  # noqa: PLC0415 - as above

    assert isinstance(store, DynamoDBStore)
    return TableCounters(store.table, clock=clock)


def build_usage(settings: Settings, store: "ChatStore", *, clock: Callable[[], int] = time.time_ns) -> UsageRows | None:
    """Where the stage's usage is counted: on the DynamoDB table, or in this process; None if it is not counted."""
    if not settings.counts_usage:
        return None
    if settings.store != "dynamodb":
        return MemoryUsage()
    from lambda_src.store.dynamodb import DynamoDBStore  # noqa: PLC0415 - only what is chosen is loaded
    from lambda_src.store.dynamodb.usage import TableUsage  # noqa: PLC0415 - as above

    assert isinstance(store, DynamoDBStore)
    return TableUsage(store.table, clock=clock)


def build_callers(settings: Settings, store: "ChatStore", *, clock: Callable[[], int] = time.time_ns) -> Callers:
    """Hashes callers' addresses with a daily key: from the DynamoDB table; with other stores, of this process."""
    if settings.store != "dynamodb":
        return Callers(MemoryDayKeys(), clock=clock)
    from lambda_src.store.dynamodb import DynamoDBStore  # noqa: PLC0415 - only what is chosen is loaded
    from lambda_src.store.dynamodb.day_keys import TableDayKeys  # noqa: PLC0415 - as above

    assert isinstance(store, DynamoDBStore)
    return Callers(TableDayKeys(store.table), clock=clock)


def build_table(settings: Settings, aws: Clients) -> "DynamoDBStore":
    """The store on the DynamoDB table that CHAT_TABLE names."""
    from lambda_src.store.dynamodb import DynamoDBStore  # noqa: PLC0415 - only what is chosen is loaded

    assert settings.table is not None, "Settings refuses this store without a table"
    return DynamoDBStore(
        aws.client("dynamodb"),
        settings.table,
        bucket=settings.bucket,
        s3=None if settings.bucket is None else aws.late_client("s3"),
        retention_s=settings.retention_days * DAY_S,
        count=count_row,
        executor=ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="store"),
    )
