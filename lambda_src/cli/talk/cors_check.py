"""`chat doctor --origin URL`: can a page of that origin use the chat? CORS, token, streaming, embedding; what to do.

Asks as a browser would, and judges as one: the judges are pure. One message is sent, and its thread deleted.
"""

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from lambda_src.cli.talk.client import Endpoint, EndpointError, place_of
from lambda_src.errors import RequestError
from lambda_src.http.edge import REQUEST_HEADERS, RESPONSE_HEADERS

ASKED = "Count from one to thirty in words."  # enough words to see whether they come one by one
DELTA = b"content_part.text_delta"
FEWEST = 5  # deltas of which one can tell how they came
LUMP = 4  # deltas in a piece, on average, up to which it is a stream: a busy machine reads two or three at once
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ALLOW_HERE = 'Allow it: `make dev FLAGS="--cors {}"`; without that, pages on localhost and 127.0.0.1 may use the chat'
ALLOW = "Allow it: `cors_origins` of the stage in cdk.json, then `make deploy` (docs/how-to/cors.md)"


@dataclass(frozen=True, slots=True)
class Row:
    """One check: what it found, and what to do unless it is ok. `look`: this one only a person can check."""

    check: str
    state: Literal["ok", "wrong", "look", "left out"]
    found: str
    todo: str = ""

    def __str__(self) -> str:
        text = f"{self.state:8}  {self.check:9}  {self.found}"
        return f"{text}\n{'':21}-> {self.todo}" if self.todo else text


def origin_of(text: str) -> str:
    """`text` if it is an origin, as browsers send it. RequestError says what is wrong."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise RequestError(f"{text!r} is no origin: it is like https://www.example.com")
    if (origin := f"{parts.scheme}://{parts.netloc}".lower()) != text.rstrip("/").lower():
        raise RequestError(f"An origin has no path: take {origin}")
    return origin


async def rows(endpoint: Endpoint, origin: str) -> AsyncIterator[Row]:
    """Every check, as it is done. EndpointError: nobody answers at all."""
    is_here = urlsplit(place_of(endpoint.url)[0]).hostname in LOOPBACK
    async for row in _rows(endpoint, origin):
        yield _here(row, origin) if is_here else row


async def _rows(endpoint: Endpoint, origin: str) -> AsyncIterator[Row]:
    base, _ = place_of(endpoint.url)
    same = origin == "{0.scheme}://{0.netloc}".format(urlsplit(base)).lower()
    health = await endpoint.raw("GET", "/chat/health")
    if health.status_code != 200 or "healthy" not in health.text:
        yield Row("chat", "wrong", f"{base}/chat/health was answered {health.status_code}", "Is it the right --url?")
        return
    yield Row("chat", "ok", f"{base} answers")
    if same:
        yield Row("preflight", "ok", "none needed: the page is the chat's own")
    else:
        wanted = {"access-control-request-method": "POST", "access-control-request-headers": ",".join(REQUEST_HEADERS)}
        answer = await endpoint.raw("OPTIONS", endpoint.path, headers={"origin": origin, **wanted})
        yield preflight(answer.status_code, answer.headers, origin)
    token = await _token(endpoint)
    yield token
    if not same:
        body = {"type": "threads.list", "params": {"limit": 1}}
        answer = await endpoint.raw("POST", endpoint.path, body, headers={"origin": origin})
        yield answered(answer.headers, origin)
    if token.state == "ok":
        yield await _streaming(endpoint)
    else:
        yield Row("streaming", "left out", "nobody may talk without a token")
    if not same:
        page = await endpoint.raw("GET", "/")
        yield embedded(page.status_code, page.headers, origin)
    yield listed(origin)


def preflight(status: int, headers: Mapping[str, str], origin: str) -> Row:
    """What a browser makes of the answer to OPTIONS."""
    if not 200 <= status < 300:
        return Row("preflight", "wrong", f"OPTIONS was answered {status}", _allow(origin))
    if (fault := _allowed(headers, origin)) is not None:
        return Row("preflight", "wrong", fault, _allow(origin))
    methods = _names(headers, "access-control-allow-methods")
    if not {"post", "*"} & methods:
        return Row("preflight", "wrong", f"POST is not among {', '.join(sorted(methods)) or 'no methods'}",
                   "Let access-control-allow-methods name GET and POST.")  # fmt: skip
    allowed = _names(headers, "access-control-allow-headers")
    missing = [h for h in REQUEST_HEADERS if h not in allowed and ("*" not in allowed or h == "authorization")]
    if missing:
        return Row("preflight", "wrong", f"a page may not send {', '.join(missing)}",
                   "Let access-control-allow-headers name them (* does not cover authorization).")  # fmt: skip
    return Row("preflight", "ok", f"{origin} may send what it needs")


def answered(headers: Mapping[str, str], origin: str) -> Row:
    """What a page may read of an answer."""
    if (fault := _allowed(headers, origin)) is not None:
        return Row("answer", "wrong", fault, _allow(origin))
    exposed = _names(headers, "access-control-expose-headers")
    if "*" not in exposed and (missing := [name for name in RESPONSE_HEADERS if name not in exposed]):
        return Row("answer", "wrong", f"a page cannot read {', '.join(missing)}",
                   "Let access-control-expose-headers name them; without x-chat-turn no page resumes.")  # fmt: skip
    return Row("answer", "ok", "a page may read it, its turn's id too")


def streamed(pieces: Iterable[bytes]) -> Row:
    """Whether the words came one by one, by the pieces in which they arrived: no clock is asked."""
    counts = [piece.count(DELTA) for piece in pieces]
    deltas, arrived = sum(counts), sum(count > 0 for count in counts)
    if deltas < FEWEST:
        return Row(
            "streaming",
            "look",
            f"the answer had {deltas} deltas: too few to tell",
            "Ask it with `make chat ARGS=talk`.",
        )
    summary = f"{deltas} deltas arrived in {arrived} pieces"
    if deltas > LUMP * arrived:
        return Row("streaming", "wrong", summary,
                   "Something between here and the function holds the answer back: a proxy that buffers or compresses, "
                   "a function URL whose invoke mode is not RESPONSE_STREAM.")  # fmt: skip
    return Row("streaming", "ok", summary)


def embedded(status: int, headers: Mapping[str, str], origin: str) -> Row:
    """Whether a browser shows the chat's page in a frame of that origin: docs/how-to/embed.md."""
    if status != 200:
        return Row("embed", "left out", "this chat serves no page")
    directives = [part.split() for part in headers.get("content-security-policy", "").split(";") if part.strip()]
    sites = next((sites for name, *sites in directives if name == "frame-ancestors"), None)
    if sites is None:
        return Row("embed", "wrong", "the page does not say which sites may embed it",
                   "Something between here and the function removes content-security-policy: let it pass.")  # fmt: skip
    if not {origin, re.sub(r":\d+$", ":*", origin)} & set(sites):
        return Row("embed", "wrong", f"{origin} may not embed the chat", _allow(origin))
    return Row("embed", "ok", f"{origin} may embed the chat with embed.js")


def listed(origin: str) -> Row:
    """OpenAI's list of domains, which this command cannot read."""
    if urlsplit(origin).hostname in LOOPBACK:
        return Row("domain", "ok", "OpenAI's component needs no entry for this machine")
    return Row("domain", "look", f"a page of {urlsplit(origin).hostname} stays blank unless OpenAI knows the domain",
               "If it uses OpenAI's component: add it at "
               "https://platform.openai.com/settings/organization/security/domain-allowlist")  # fmt: skip


async def _token(endpoint: Endpoint) -> Row:
    given = endpoint.token is not None
    try:
        guest = await endpoint.sign_in()
    except EndpointError as refused:
        return Row("token", "wrong", str(refused), "docs/reference/tokens.md lists what a token must contain.")
    if guest:
        return Row("token", "ok", "none given; guests are let in")
    return Row("token", "ok", "it is accepted" if given else "none given, none asked for (`make dev`)")


async def _streaming(endpoint: Endpoint) -> Row:
    content = [{"type": "input_text", "text": ASKED}]
    params: dict[str, Any] = {"input": {"content": content, "attachments": [], "inference_options": {}}}
    try:
        pieces = [piece async for piece in endpoint.chunks("threads.create", params)]
        thread_id = json.loads(b"".join(pieces).split(b"\n", 1)[0][6:])["thread"]["id"]
        await endpoint.ask("threads.delete", thread_id=thread_id)
    except EndpointError as refused:
        return Row("streaming", "wrong", str(refused), "Mend what it says, then ask again.")
    except (ValueError, KeyError, TypeError):
        return Row("streaming", "wrong", "the answer is no stream of a chat", "Something answers in its place.")
    return streamed(pieces)


def _allowed(headers: Mapping[str, str], origin: str) -> str | None:
    """Why a browser would not give the answer to the page; None: it would."""
    allowed = headers.get("access-control-allow-origin")
    if allowed is None:
        return f"{origin} is not allowed: no access-control-allow-origin"
    if "," in allowed:
        return f"access-control-allow-origin is there twice ({allowed}): two layers answer CORS"
    if allowed not in (origin, "*"):
        return f"{origin} is not allowed: access-control-allow-origin is {allowed}"
    return None


def _allow(origin: str) -> str:
    return f"{ALLOW}: {json.dumps([origin])}"


def _here(row: Row, origin: str) -> Row:
    """The row for a chat on this machine, where there is nothing to deploy."""
    return replace(row, todo=ALLOW_HERE.format(origin)) if row.todo.startswith(ALLOW) else row


def _names(headers: Mapping[str, str], header: str) -> set[str]:
    return {name.strip().lower() for name in headers.get(header, "").split(",")} - {""}
