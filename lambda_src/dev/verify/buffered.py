"""HTTP transport for function URLs of the local AWS, which respond with the invocation's JSON result."""

import base64
import json

import httpx2

PATH = "/_aws/lambda-url/"  # in the address of a function URL of the local AWS


class BufferedTransport(httpx2.AsyncBaseTransport):
    """Turns `{"statusCode": ..., "headers": ..., "body": ...}` into the HTTP response that it describes."""

    def __init__(self, wrapped: httpx2.AsyncBaseTransport | None = None) -> None:
        self._wrapped = wrapped or httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request. Responses of other URLs, such as presigned ones, are unchanged."""
        answer = await self._wrapped.handle_async_request(request)
        if not request.url.path.startswith(PATH):
            return answer
        content = await answer.aread()
        try:
            result = json.loads(content)
            body = str(result.get("body", ""))
            payload = base64.b64decode(body) if result.get("isBase64Encoded") else body.encode()
            status, headers = int(result["statusCode"]), result.get("headers", {})
        except (ValueError, LookupError, AttributeError, TypeError):  # a response of the local AWS itself
            status, headers, payload = answer.status_code, answer.headers, content
        return httpx2.Response(status, headers=headers, stream=httpx2.ByteStream(payload))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wrapped.aclose()
