"""A Lambda function that connects a chat tool to the operators' inbox: docs/how-to/operators.md, "A chat tool".

Subscribed to the stage's topic, it posts each request for a person to the tool's incoming webhook. Its function URL
takes the team's answers from the tool and passes them on, with a token that it signs as your backend.
"""

import hmac
import json
import os
import time
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import jwt

CHAT_URL, AUDIENCE = os.environ["CHAT_URL"].rstrip("/"), os.environ["CHAT_AUDIENCE"]
WEBHOOK_URL, SHARED_SECRET = os.environ["WEBHOOK_URL"], os.environ["SHARED_SECRET"]
KEY_ID, PRIVATE_KEY = os.environ["KEY_ID"], os.environ["PRIVATE_KEY"]  # in production, read them from a secret


def handler(event: dict[str, Any], context: object) -> dict[str, Any] | None:
    """Events of the topic, or an answer from the chat tool: {"user", "thread", "author", "text", "id"}."""
    if "Records" in event:
        for record in event["Records"]:
            message = json.loads(record["Sns"]["Message"])
            if message["type"] in ("handoff.requested", "handoff.unanswered"):
                post(WEBHOOK_URL, {"text": f"{message['type']}: {message['user']} {message['thread']}"})
        return None
    if not hmac.compare_digest(event["headers"].get("x-shared-secret", ""), SHARED_SECRET):
        return {"statusCode": 403}
    answer = json.loads(event["body"])
    thread = f"{CHAT_URL}/operator/threads/{quote(answer['user'], safe='')}/{quote(answer['thread'], safe='')}"
    headers = {"authorization": f"Bearer {token()}", "x-chat-turn": answer["id"]}
    post(f"{thread}/take", {}, headers)
    post(f"{thread}/messages", {"author": answer["author"], "text": answer["text"]}, headers)
    return {"statusCode": 200}


def token() -> str:
    """A token of one operator, whoever wrote the answer, for every assistant that has operators."""
    claims = {"sub": "chat-tool", "aud": AUDIENCE, "exp": int(time.time()) + 300, "role": "operator"}
    return jwt.encode(claims, PRIVATE_KEY, algorithm="ES256", headers={"kid": KEY_ID})


def post(url: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
    """Send JSON. Raises for any other answer than a success: SNS then sends the event again."""
    headers = {"content-type": "application/json", **(headers or {})}
    request = Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - both addresses are your settings
    urlopen(request, timeout=10).close()  # noqa: S310 - as above
