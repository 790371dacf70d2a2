"""Daily upload quota: how many files and bytes a user may upload per UTC day. Knows no bucket and no HTTP.

A file counts when its upload URL is created, whether it is uploaded or not: the URL is valid for that many bytes.
"""

import time
from collections.abc import Callable
from secrets import token_hex

from lambda_src.context import RequestContext, User
from lambda_src.errors import QuotaError
from lambda_src.languages import Sentence
from lambda_src.quotas.turn_quota import in_words
from lambda_src.settings import Settings
from lambda_src.store.counters import Counters, seconds_left

FILES, FILE_BYTES = "files", "file-bytes"  # names of counters in the user's partition
GUEST_FILES = 5  # per day: enough for a few screenshots, useless as free storage
GUEST_FILE_BYTES = 20_000_000
TOO_LARGE = "This file is larger than what is left of today's allowance. It resets {when}, at midnight UTC."


class FileQuota:
    """Counts uploads and refuses those over the limit. `clock` returns nanoseconds since 1970."""

    def __init__(self, counters: Counters, settings: Settings, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._counters, self._settings, self._clock = counters, settings, clock

    async def admit(self, size: int, context: RequestContext) -> None:
        """Count one file of `size` bytes. Raises QuotaError, and counts nothing, if it is over a limit."""
        files, file_bytes = self._limits(context.user)
        user_id = context.user.id
        if files and not await self._counters.add(FILES, 1, ceiling=files, user_id=user_id):
            raise self._refused("You have reached today's limit of files. It resets {when}, at midnight UTC.", FILES)
        if file_bytes and not await self._counters.add(FILE_BYTES, size, ceiling=file_bytes, user_id=user_id):
            if files:
                await self._counters.correct(FILES, -1, ceiling=files, user_id=user_id, mark=token_hex(8))
            raise self._refused(TOO_LARGE, FILE_BYTES)

    def _limits(self, user: User) -> tuple[int, int]:
        """Files and bytes per day; 0 means no limit. Guests get at most GUEST_FILES and GUEST_FILE_BYTES."""
        files, file_bytes = self._settings.quotas.files_per_day, self._settings.quotas.file_bytes_per_day
        if not user.is_guest:
            return files, file_bytes
        return min(files or GUEST_FILES, GUEST_FILES), min(file_bytes or GUEST_FILE_BYTES, GUEST_FILE_BYTES)

    def _refused(self, sentence: str, limit: str) -> QuotaError:
        left_s = seconds_left(self._clock())
        return QuotaError(Sentence(sentence, when=in_words(left_s)), limit=limit, retry_after_s=left_s)
