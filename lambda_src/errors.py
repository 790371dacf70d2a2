"""Every error of ours, as one tree. Knows no HTTP: http/app.py says which status each becomes.

ChatError
├── SettingsError        the environment is incomplete or malformed; lists every fault at once
├── AuthError            no bearer token, or one that does not prove who calls
│   └── UnknownKeyError          the token names a key that we do not know, which may be new; says when to try again
├── ForbiddenError       one of the user's hooks refused it (hooks.py); its text is the hook's
├── RequestError         the request cannot be understood; says what is wrong and where
├── TooLargeError        a body or an item is over a limit; says which limit and by how much
├── ConflictError        understood, but not possible in the thread's present state
├── NoAssistantError     nobody here has the name that was asked for
├── QuotaError           as much as this user, or the stage, may spend is spent; says when it may go on
└── UnavailableError     a service we stand on did not answer in time; nothing was half-written
    └── SignInUnavailableError   the token cannot be checked at the moment; nothing was begun

A thing that is missing, or someone else's, is chatkit.store.NotFoundError: upstream's, so that the
server and every store speak of it in one word.
"""

from collections.abc import Sequence


class ChatError(Exception):
    """The root: its text is a sentence that a person may read."""


class SettingsError(ChatError):
    """Settings are missing or malformed. `faults` holds one sentence per fault."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("Settings are wrong: " + " ".join(f"({n}) {fault}" for n, fault in enumerate(faults, 1)))


class AuthError(ChatError):
    """The caller did not prove who they are. Its text never says which check failed."""


class UnknownKeyError(AuthError):
    """The token may be signed with a new key. Send the request again after `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ForbiddenError(ChatError):
    """A hook of the user's folder refused this; nothing was stored or spent."""


class RequestError(ChatError):
    """The request cannot be understood."""


class TooLargeError(ChatError):
    """Something is over a limit; nothing of it was stored."""


class ConflictError(ChatError):
    """The request is sound, but the thread's present state does not allow it."""


class NoAssistantError(ChatError):
    """There is no assistant of this name."""


class QuotaError(ChatError):
    """A quota is spent; nothing was begun. The request may come again after `retry_after_s` seconds.

    `limit` names the quota in logs and metrics; `running` are the turns that take up all the user's places.
    """

    def __init__(self, message: str, *, limit: str, retry_after_s: int, running: Sequence[str] = ()) -> None:
        self.limit, self.retry_after_s, self.running = limit, retry_after_s, running
        super().__init__(message)


class UnavailableError(ChatError):
    """A service we stand on failed or did not answer in time."""


class SignInUnavailableError(UnavailableError):
    """A token cannot be checked at the moment. Nothing was begun: send the request again after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


BROKEN_OFF = "The answer broke off before it was complete. Try again."  # an UnavailableError, once text was shown
