"""Why a request was refused, kept for its duplicates: each of them is refused in the same words. Pure."""

import json

from chatkit.store import NotFoundError

from lambda_src.errors import ChatError, ConflictError, ForbiddenError, QuotaError, RequestError, TooLargeError

_PLAIN: dict[str, type[ChatError]] = {
    kind.__name__: kind for kind in (ConflictError, ForbiddenError, RequestError, TooLargeError)
}


def packed(error: BaseException) -> str | None:
    """A refusal as text; None for what is none: whatever failed here may go well the next time."""
    match error:
        case QuotaError():
            return json.dumps(["QuotaError", str(error), error.limit, error.retry_after_s])
        case NotFoundError():
            return json.dumps(["NotFoundError", ""])
        case ChatError() if type(error).__name__ in _PLAIN:
            return json.dumps([type(error).__name__, str(error)])
        case _:
            return None


def unpacked(text: str) -> Exception:
    """The refusal that was packed."""
    match json.loads(text):
        case ["QuotaError", message, limit, retry_after_s]:
            return QuotaError(message, limit=limit, retry_after_s=retry_after_s)
        case ["NotFoundError", _]:
            return NotFoundError("There is no such thing.")
        case [kind, message]:
            return _PLAIN.get(kind, ConflictError)(message)  # an older release's kind: still a refusal
        case other:
            raise ValueError(f"This is no refusal: {type(other).__name__}.")
