"""The CORS setting of a function URL: answers to OPTIONS, and headers on everything else. Pure.

https://docs.aws.amazon.com/lambda/latest/api/API_Cors.html. With a setting the URL replaces what the function says.
One thing AWS has not: an origin may end in `:*`, any port, for the pages that people develop on a laptop.
"""

from lambda_src.dev.emulator.protocol import Prelude
from lambda_src.dev.emulator.switches import Cors
from lambda_src.dev.emulator.url.events import Request


def preflight(cors: Cors, request: Request) -> Prelude | None:
    """The URL's own answer to a preflight; None for any other request."""
    if request.method != "OPTIONS" or request.header("access-control-request-method") is None:
        return None
    headers = headers_for(cors, request)
    if headers:
        headers["access-control-allow-methods"] = ",".join(cors.allow_methods)
        if cors.allow_headers:
            headers["access-control-allow-headers"] = ",".join(cors.allow_headers)
        if cors.max_age_s:
            headers["access-control-max-age"] = str(cors.max_age_s)
    return Prelude(200, headers)


def with_cors(cors: Cors | None, request: Request, prelude: Prelude) -> Prelude:
    """`prelude` with the URL's CORS headers in the place of the function's own; unchanged without a setting."""
    if cors is None:
        return prelude
    kept = {name: value for name, value in prelude.headers.items() if not name.startswith("access-control-")}
    return Prelude(prelude.status, kept | headers_for(cors, request), prelude.cookies)


def headers_for(cors: Cors, request: Request) -> dict[str, str]:
    """For an allowed origin; nothing for another, and nothing for a request without one."""
    origin = request.header("origin")
    if origin is None or not any(covers(allowed, origin) for allowed in cors.allow_origins):
        return {}
    headers = {"access-control-allow-origin": origin, "vary": "Origin"}
    if cors.expose_headers:
        headers["access-control-expose-headers"] = ",".join(cors.expose_headers)
    if cors.allow_credentials:
        headers["access-control-allow-credentials"] = "true"
    return headers


def covers(allowed: str, origin: str) -> bool:
    """Whether `allowed` (exact, `*`, or ending in `:*` for any port) names `origin`."""
    if not allowed.endswith(":*"):
        return allowed in ("*", origin)
    host, _, port = origin.rpartition(":")
    return (host == allowed[:-2] and port.isdecimal()) or origin == allowed[:-2]
