"""Turn ids and idempotency keys. Pure.

The server mints the id of every turn; what a client sends as x-chat-turn only names its request. The key of the request
is a hash of that name, or of the body if there is none, and the turn's id begins with the key. So one row can be looked
up by name, body or id, and no two runs share a journal, even if a client uses a name twice.
"""

import hashlib
import re
import secrets

PERSON = "person-"  # how the ids of operators' messages begin
KEY_DIGITS = 24  # 96 bits, among one user's requests: no collisions
_MINTED = re.compile(rf"turn_([0-9a-f]{{{KEY_DIGITS}}})[0-9a-f]{{{KEY_DIGITS}}}", re.ASCII)


def key_of_name(name: str, user_id: str) -> str:
    """The key of a request that its client named. For a name that is a turn's id, the key of that turn."""
    return key_in(name) or _digest(b"name", user_id, name.encode())


def key_of_body(body: bytes, user_id: str) -> str:
    """The key of a request without a name."""
    return _digest(b"body", user_id, body)


def mint(key: str) -> str:
    """A new turn's id: `turn_`, its request's key, and as many random digits."""
    return f"turn_{key}{secrets.token_hex(KEY_DIGITS // 2)}"


def message_id(key: str) -> str:
    """The id of the user's message of a unique request: the same however often it is sent."""
    return f"msg_{key}"


def thread_id(key: str) -> str:
    """The id of the thread that a unique request begins."""
    return f"thr_{key}"


def key_in(turn_id: str) -> str | None:
    """The key in a turn's id; None if this server did not mint it."""
    match = _MINTED.fullmatch(turn_id)
    return match[1] if match else None


def _digest(kind: bytes, user_id: str, text: bytes) -> str:
    """A hash that includes the user: otherwise an id would confirm a stranger's guess of what the user wrote."""
    return hashlib.sha256(b"\0".join((kind, user_id.encode(errors="surrogatepass"), text))).hexdigest()[:KEY_DIGITS]
