"""All exceptions of this project in one tree. Knows no HTTP: http/app.py maps each to a status.

ChatError
├── SettingsError        the environment is incomplete or malformed; lists every fault at once
├── AuthError            no bearer token, or an invalid one
│   └── UnknownKeyError          the token names an unknown key, which may be new; has the time of the next try
├── ForbiddenError       one of the user's hooks refused the request (hooks.py); its text is the hook's
├── RequestError         the request is malformed; the text names what is wrong and where
├── TooLargeError        a body or an item exceeds a limit, which the text names
├── ConflictError        a valid request that the thread's current state does not allow
│   └── ThreadHeldError          the thread waits for a person or has one, so that the assistant does not answer
├── NoAssistantError     there is no assistant of the requested name
├── QuotaError           a quota of the user or the stage is used up; has the time when it is available again
└── UnavailableError     a dependency failed or did not respond in time; nothing was partially written
    └── SignInUnavailableError   the token cannot be checked at the moment; nothing was started

Something that is missing or belongs to another user is chatkit.store.NotFoundError, which every ChatKit store raises.
"""

from collections.abc import Sequence


class ChatError(Exception):
    """The base class. Its text is a sentence that users may read."""


class SettingsError(ChatError):
    """Settings are missing or malformed. `faults` has a sentence for each fault."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("Settings are wrong: " + " ".join(f"({n}) {fault}" for n, fault in enumerate(faults, 1)))


class AuthError(ChatError):
    """The caller is not authenticated. The text never reveals which check failed."""


class UnknownKeyError(AuthError):
    """The token may be signed with a new key. Send the request again after `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ForbiddenError(ChatError):
    """A hook in agent/ refused the request; nothing was stored or spent."""


class RequestError(ChatError):
    """The request is malformed."""


class TooLargeError(ChatError):
    """Something exceeds a limit; nothing of it was stored."""


class ConflictError(ChatError):
    """The request is valid, but the thread's current state does not allow it."""


class ThreadHeldError(ConflictError):
    """The thread waits for a person or has one: no turn may begin in it."""

    def __init__(self) -> None:
        super().__init__("A person answers in this conversation at the moment. Write them a message instead.")


class NoAssistantError(ChatError):
    """There is no assistant of this name."""


class QuotaError(ChatError):
    """A quota is used up; nothing was started. The client may retry after `retry_after_s` seconds.

    `limit` names the quota in logs and metrics; `running` are the turns that reach the user's limit.
    """

    def __init__(self, message: str, *, limit: str, retry_after_s: int, running: Sequence[str] = ()) -> None:
        self.limit, self.retry_after_s, self.running = limit, retry_after_s, running
        super().__init__(message)


class UnavailableError(ChatError):
    """A dependency failed or did not respond in time."""


class SignInUnavailableError(UnavailableError):
    """A token cannot be checked at the moment. Nothing was started: send the request again after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


BROKEN_OFF = "The answer broke off before it was complete. Try again."  # UnavailableError after text was streamed
