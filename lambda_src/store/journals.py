"""Batches of a turn's journal as they are stored: packed like payloads, numbered, bounded. Pure; knows no row.

A batch under 1 KB stays as it is: DynamoDB bills by the KB, so gzip would cost CPU at every delta and save nothing.
"""

from lambda_src.errors import TooLargeError
from lambda_src.store import codec
from lambda_src.store.ports import JournalBatch

BATCH_MAX_BYTES = 150 * 1024  # packed: as much as any other payload that stays in its row
GZIP_LEVEL = 1  # events repeat themselves: half the CPU, and a second of them is one unit of 1 KB either way
LAST_NUMBER = 999_999  # six digits in the key; a turn of 15 minutes writes some thousand batches


def pack(batch: JournalBatch) -> codec.Packed:
    """The batch's bytes as they are stored. TooLargeError; ValueError for a number that no key has room for."""
    if not 0 <= batch.number <= LAST_NUMBER:
        raise ValueError(f"A batch has a number from 0 to {LAST_NUMBER}.")
    packed = codec.pack(batch.data, level=GZIP_LEVEL)
    if len(packed.data) > BATCH_MAX_BYTES:
        raise TooLargeError(f"This batch has {len(packed.data)} bytes; at most {BATCH_MAX_BYTES} can be kept.")
    return packed


def is_number(text: str) -> bool:
    """Whether `text`, the end of a key, is a batch's number."""
    return len(text) == len(str(LAST_NUMBER)) and text.isascii() and text.isdigit()
