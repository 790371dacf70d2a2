"""What a turn and the request that began it are called. Pure.

A turn's id is made here, always; what a client sends as x-chat-turn only names its request. One row stands for both:
its key is made of the name, or of the body where there is none, and the turn's id begins with it. So whoever has the
id finds the row, and no two runs share a journal, whatever names a client uses twice.
"""

import hashlib
import re
import secrets

KEY_DIGITS = 24  # 96 bits, of one user's requests: no two of theirs ever meet
_MINTED = re.compile(rf"turn_([0-9a-f]{{{KEY_DIGITS}}})[0-9a-f]{{{KEY_DIGITS}}}", re.ASCII)


def key_of_name(name: str, user_id: str) -> str:
    """The key of a request that its client named; of a turn's id, however it came to the client, that turn's own."""
    return key_in(name) or _digest(b"name", user_id, name.encode())


def key_of_body(body: bytes, user_id: str) -> str:
    """The key of a request without a name."""
    return _digest(b"body", user_id, body)


def mint(key: str) -> str:
    """A new turn's id: `turn_`, its request's key, and as many random digits."""
    return f"turn_{key}{secrets.token_hex(KEY_DIGITS // 2)}"


def message_id(key: str) -> str:
    """The id of the message of a request that is one however often it is sent."""
    return f"msg_{key}"


def thread_id(key: str) -> str:
    """The id of the thread that such a request begins."""
    return f"thr_{key}"


def key_in(turn_id: str) -> str | None:
    """The key in a turn's id; None when it is none of ours."""
    match = _MINTED.fullmatch(turn_id)
    return match[1] if match else None


def _digest(kind: bytes, user_id: str, text: bytes) -> str:
    """The user is part of it: an id must not tell a stranger who guesses what was said that the guess is right."""
    return hashlib.sha256(b"\0".join((kind, user_id.encode(errors="surrogatepass"), text))).hexdigest()[:KEY_DIGITS]
