"""ASGI apps, each one behaviour."""

from typing import Any

from lambda_src.runtime.asgi import App, Receive, Scope, Send


def sends(*messages: dict[str, Any]) -> App:
    """An app that sends exactly `messages` and returns."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}
