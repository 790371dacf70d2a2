"""The operators' HTTP routes, under /operator: inbox, threads, their files, take, messages, return, close. JSON.

To everybody else these paths are unknown: any method and any body gets the bytes of a path that no route has. So one
ASGI app answers all of them (app.py), authenticates first, and only then looks at the path. Each access is one log line
with ids, written before the answer.
"""

import json
import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from chatkit.types import AssistantMessageItem
from fastapi import Response
from fastapi.responses import JSONResponse
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from lambda_src import chatkit_json
from lambda_src.attachments.presigned_urls import PresignedUrls
from lambda_src.auth import Authenticate
from lambda_src.chat import validation
from lambda_src.chat.store_requests import PAGE_SIZE, visible, without_items
from lambda_src.context import RequestContext, User
from lambda_src.errors import ChatError, RequestError, TooLargeError
from lambda_src.http import request_limits, request_parsing
from lambda_src.http.request_parsing import TURN_HEADER
from lambda_src.languages import Sentence
from lambda_src.store import bounds, keys
from lambda_src.store.inbox import KINDS, Kind, Matter, State
from lambda_src.store.ports import Hold
from lambda_src.support.desk import LEAVING, Desk

CHANGES = ("take", "messages", "return", "close")
STATES: tuple[State, ...] = ("open", "taken", "closed")

log = logging.getLogger(__name__)


class OperatorRoutes:
    """ASGI app for every path that begins with /operator. `urls` signs the URLs of files in threads."""

    def __init__(
        self,
        desk: Desk,
        *,
        authenticate: Authenticate,
        token_header: str,
        max_body_bytes: int,
        message_chars: int,
        urls: PresignedUrls | None,
    ) -> None:
        self._desk, self._authenticate, self._token_header = desk, authenticate, token_header
        self._max_body_bytes, self._message_chars, self._urls = max_body_bytes, message_chars, urls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.pop("path_params", {}).get("path", "")
        scope.pop("route", None)  # the log names the path only for operators
        request = Request(scope, receive)
        operator = await self._operator(request)
        response = await self._answer(request, operator, path.split("/")[1:])
        await response(scope, receive, send)

    async def _operator(self, request: Request) -> User:
        """The operator who calls. A 404 for everybody else; who has lost the role also loses the threads they have."""
        try:
            user = await self._authenticate(request.headers.get(self._token_header))
        except ChatError:
            raise HTTPException(404) from None
        if not user.operates:
            if not user.is_guest:
                with suppress(ChatError):  # the answer is that of an unknown path in any case
                    await self._desk.withdraw(user.id, request.scope["chat.request_id"])
            raise HTTPException(404)
        request.scope["chat.user"] = user.id
        return user

    async def _answer(self, request: Request, operator: User, steps: list[str]) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        match method, steps:
            case "GET", ["inbox"]:
                return await self._inbox(request, operator)
            case "GET", ["threads", user_id, thread_id]:
                owner = self._owner(request, operator, user_id, thread_id, "")
                return await self._thread(request, operator, thread_id, owner)
            case "GET", ["threads", user_id, thread_id, "attachments", attachment_id]:
                owner = self._owner(request, operator, user_id, thread_id, "/attachments/{attachment}")
                bounds.readable(attachment_id)
                return JSONResponse({"url": await self._desk.file_url(thread_id, owner, attachment_id=attachment_id)})
            case "POST", ["threads", user_id, thread_id, change] if change in CHANGES:
                owner = self._owner(request, operator, user_id, thread_id, f"/{change}")
                return await self._change(request, operator, thread_id, owner, change)
            case _:
                raise HTTPException(404)

    async def _change(
        self, request: Request, operator: User, thread_id: str, owner: RequestContext, change: str
    ) -> Response:
        limited = request_limits.limited(request, max_bytes=self._max_body_bytes)
        body = b"".join([chunk async for chunk in limited])
        match change:
            case "take":
                matter_id = request_parsing.parse_take(body).matter
                hold = await self._desk.take(
                    thread_id, owner, operator=operator.id, matter_id=matter_id, until_s=operator.until_s
                )
                return JSONResponse({"held": _held(hold)})
            case "messages":
                item = await self._write(request, operator, thread_id, owner, body)
                return Response(chatkit_json.encoded(item), media_type="application/json")
            case "return":
                await self._desk.give_back(thread_id, owner, operator=operator.id)
            case _:
                await self._desk.close(thread_id, owner, operator=operator.id)
        return JSONResponse({})

    async def _inbox(self, request: Request, operator: User) -> Response:
        query = request.query_params
        assistant = query.get("assistant", "")
        self._allow(operator, assistant)
        self._audit(request, operator, "GET /operator/inbox", assistant=assistant)
        request_limits.check_head(request)
        page = await self._desk.page(
            assistant,
            kind=_kind_in(query.get("kind")),
            state=_state_in(query.get("state")),
            after=_cursor_in(query.get("after")),
        )
        matters = [_json_of(matter) for matter in page.matters]
        return JSONResponse({"matters": matters, "after": page.after, "operator": operator.id})

    async def _thread(self, request: Request, operator: User, thread_id: str, owner: RequestContext) -> Response:
        query = request.query_params
        shown = await self._desk.thread(thread_id, owner, operator=operator.id, until_s=operator.until_s)
        items = await self._desk.items(
            thread_id, owner, after=query.get("after"), limit=_limit_in(query.get("limit")), order=_order_in(query)
        )
        encoded = chatkit_json.encoded(visible(items, owner.language))
        page = json.loads(encoded if self._urls is None else self._urls.in_answer(encoded, owner))
        thread = json.loads(chatkit_json.encoded(without_items(shown.thread, owner.language)))
        del thread["items"]
        held = None if shown.hold is None else _held(shown.hold)
        return JSONResponse({"thread": thread, "held": held, "items": page})

    async def _write(
        self, request: Request, operator: User, thread_id: str, owner: RequestContext, body: bytes
    ) -> AssistantMessageItem:
        name = request_parsing.turn_id_of(request.headers.get(TURN_HEADER))
        message = request_parsing.parse_operator_message(body)
        if len(message.text) > self._message_chars:
            raise TooLargeError(validation.too_long(Sentence("This message"), len(message.text), self._message_chars))
        return await self._desk.write(
            thread_id,
            owner,
            operator=operator.id,
            author=message.author,
            text=message.text,
            name=name,
            until_s=operator.until_s,
        )

    def _owner(self, request: Request, operator: User, user_id: str, thread_id: str, rest: str) -> RequestContext:
        """The context of the thread's user. A 404 like that of an unknown path at an assistant of other operators.

        `rest` of the path is logged as it is.
        """
        assistant = user_id.partition(".")[2]
        self._allow(operator, assistant)
        route = f"{request.method} /operator/threads/{{user}}/{{thread}}{rest}"
        self._audit(request, operator, route, assistant=assistant, of=user_id, thread=thread_id)
        request_limits.check_head(request)
        bounds.readable(user_id, thread_id)
        return RequestContext(User(user_id, assistant=assistant), request.scope["chat.request_id"])

    def _allow(self, operator: User, assistant: str) -> None:
        if assistant not in operator.operates:
            raise HTTPException(404)

    def _audit(
        self, request: Request, operator: User, route: str, *, assistant: str, of: str = "", thread: str = ""
    ) -> None:
        """Log who accesses what. An operator may put anything into a path, so ids that are not plain are hashed."""
        request.scope["chat.operation"] = route
        fields = {
            "request_id": request.scope["chat.request_id"],
            "operator": operator.id,
            "assistant": assistant,
            "operation": route,
        }
        if thread:
            fields |= {"user": keys.object_segment(of), "thread_id": keys.object_segment(thread)}
        log.info("operator_access", extra=fields)


def _json_of(matter: Matter) -> dict[str, Any]:
    return {
        "id": matter.id,
        "kind": matter.kind,
        "state": matter.state,
        "assistant": matter.assistant,
        "user": matter.user_id,
        "thread": matter.thread_id,
        "cause": matter.cause or None,
        "operator": matter.operator.removeprefix(LEAVING) or None,
        "opened_at": _time(matter.opened_ns // 1_000_000),
        "changed_at": _time(matter.changed_ms),
    }


def _held(hold: Hold) -> dict[str, Any]:
    return {"state": hold.state, "operator": hold.operator.removeprefix(LEAVING) or None, "since": _time(hold.since_ms)}


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _kind_in(text: str | None) -> Kind | None:
    if text is None:
        return None
    for kind in KINDS:
        if kind == text:
            return kind
    raise RequestError(f"kind must be one of {', '.join(KINDS)}.")


def _state_in(text: str | None) -> State | None:
    if text is None:
        return None
    for state in STATES:
        if state == text:
            return state
    raise RequestError(f"state must be one of {', '.join(STATES)}.")


def _cursor_in(text: str | None) -> str | None:
    if text is not None and not (bounds.is_id(text) and text.startswith(tuple(f"{kind}#" for kind in KINDS))):
        raise RequestError("after must be the `after` of an earlier page.")
    return text


def _limit_in(text: str | None) -> int:
    if text is None:
        return PAGE_SIZE
    if not (text.isdecimal() and 0 < int(text[:4]) <= bounds.MAX_LIMIT and len(text) <= 3):
        raise RequestError(f"limit must be a whole number from 1 to {bounds.MAX_LIMIT}.")
    return int(text)


def _order_in(query: QueryParams) -> str:
    order = query.get("order", "asc")
    if order not in ("asc", "desc"):
        raise RequestError("order must be asc or desc.")
    return order
