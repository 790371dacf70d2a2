"""Checks of single responses: health, page, access, CORS, body limits, uploads, cold starts, models."""

import asyncio
import statistics
from urllib.parse import urlsplit

import httpx2

from lambda_src.cli import retirement
from lambda_src.cli.secrets.command import CDK_JSON
from lambda_src.cli.stage import read_stage
from lambda_src.dev.verify.deployment import ASK_S, Deployment, whole
from lambda_src.dev.verify.row import Row, judged, not_seen, seen
from lambda_src.errors import ChatError
from lambda_src.quotas.source_addresses import network_of

STRANGER = "https://stranger.invalid"  # an origin that no stage allows
AT_ONCE = 5  # concurrent requests: a new account has ten concurrent executions
LOOPBACK = "127.0.0.1"
OTHER_ADDRESS = "198.51.100.7"  # a documentation address (RFC 5737), which no caller has
ECHO = "https://checkip.amazonaws.com/"  # responds with the caller's address
PNG = bytes.fromhex(  # one pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
OVER_APP_LIMIT, OVER_LAMBDA_LIMIT = 1_100_000, 6_400_000  # bytes


async def health(deployment: Deployment) -> Row:
    """The deployment responds."""
    answer = await deployment.http.get("chat/health", timeout=ASK_S)
    good = answer.status_code == httpx2.codes.OK and answer.json().get("status") == "healthy"
    return judged("health", good, f"GET /chat/health answers {answer.status_code}", http=answer.http_version)


async def page(deployment: Deployment) -> Row:
    """The page has a strict content security policy."""
    answer = await deployment.http.get("", timeout=ASK_S)
    policy = answer.headers.get("content-security-policy", "")
    good = answer.status_code == httpx2.codes.OK and "default-src 'none'" in policy
    kind = deployment.page_config["auth"]["kind"]
    return judged(
        "page", good, f"GET / answers {answer.status_code}; people sign in: {kind}", bytes=len(answer.content)
    )


async def no_token(deployment: Deployment) -> Row:
    """A request without a token is refused."""
    answer = await deployment.http.post("chatkit", json={"type": "threads.list", "params": {}}, timeout=ASK_S)
    if deployment.is_open:
        return seen("no token", f"answered {answer.status_code}: this one is open to every caller, as on a laptop")
    return judged("no token", answer.status_code == httpx2.codes.UNAUTHORIZED, f"answered {answer.status_code}")


async def cors(deployment: Deployment) -> Row:
    """An unknown site may not call; the configured one may, and can read the headers that it needs."""
    requested = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    wrong: list[str] = []
    for origin, may in ((STRANGER, False), (deployment.origin, True)):
        if origin is None:
            continue
        preflight = await deployment.http.options("chatkit", headers={"origin": origin, **requested}, timeout=ASK_S)
        answer = await deployment.http.get("chat/health", headers={"origin": origin}, timeout=ASK_S)
        for what, response in (("preflight", preflight), ("answer", answer)):
            allowed = response.headers.get_list("access-control-allow-origin")
            if allowed != ([origin] if may else []):
                wrong.append(f"the {what} to {origin} allows {allowed or 'nobody'}")
        exposed = answer.headers.get("access-control-expose-headers", "").lower()
        if may and not all(name in exposed for name in ("x-chat-turn", "x-request-id", "retry-after")):
            wrong.append(f"it exposes {exposed or 'no header'}")
    tried = "a stranger is refused" + ("" if deployment.origin is None else f", {deployment.origin} may call")
    return judged("CORS", not wrong, "; ".join(wrong) or tried)


async def empty_body(deployment: Deployment) -> Row:
    """Requests and responses without a body work: function URLs are reported to hang on them."""
    requests = {
        "HEAD /": deployment.http.head("", timeout=ASK_S),
        "POST /chatkit without a body": deployment.http.post("chatkit", content=b"", timeout=ASK_S),
        "OPTIONS /chat/health": deployment.http.options("chat/health", timeout=ASK_S),
    }
    results, hung = [], False
    for what, request in requests.items():
        try:
            results.append(f"{what}: {(await request).status_code}")
        except httpx2.TimeoutException:
            hung = True
            results.append(f"{what}: hangs")
    return judged("empty body", not hung, "; ".join(results))


async def large_body(deployment: Deployment) -> Row:
    """A body over the limits of the app and of Lambda is refused with a 413."""
    person = await deployment.person()
    statuses = []
    for size in (OVER_APP_LIMIT, OVER_LAMBDA_LIMIT):
        answer = await deployment.http.post("chatkit", content=b" " * size, headers=person.headers, timeout=ASK_S)
        statuses.append(answer.status_code)
    results = f"{OVER_APP_LIMIT} bytes: {statuses[0]}; {OVER_LAMBDA_LIMIT} bytes: {statuses[1]}"
    return judged("large body", statuses == [413, 413], results)


async def callers_address(deployment: Deployment) -> Row:
    """Guests are counted by their own address, not by a proxy's or by one that they claim."""
    name = "caller's address"
    if not deployment.has_guests:
        return not_seen(name, "it is counted for guests only, and this deployment has none")
    forged = {"x-forwarded-for": OTHER_ADDRESS}
    answer = await deployment.http.post("auth/guest", headers=forged, timeout=ASK_S)
    answer.raise_for_status()
    counted = str(answer.json()["counted_as"])
    if counted == OTHER_ADDRESS:
        return judged(name, False, "a caller may choose the address that it is counted by, in X-Forwarded-For")
    host = urlsplit(deployment.url).hostname or ""
    try:
        ours = host if host == LOOPBACK else (await deployment.http.get(ECHO, timeout=ASK_S)).raise_for_status().text
    except httpx2.HTTPError as fault:
        return not_seen(name, f"{ECHO} did not return this machine's address: {type(fault).__name__}")
    ours = network_of(ours.strip())
    if (":" in ours) != (":" in counted):
        return not_seen(name, f"{ECHO} and the deployment see this machine by different IP versions: try from IPv4")
    owner = "that of this machine" if counted == ours else "not this machine's: all guests behind a proxy share a limit"
    return judged(name, counted == ours, f"the address that guests are counted by is {owner}")


async def odd_path(deployment: Deployment) -> Row:
    """A path that is not UTF-8 gets a 4xx, from the app or AWS: an error of the function would set off an alarm."""
    answer = await deployment.http.get("%ff", timeout=ASK_S)
    return judged("odd path", answer.is_client_error, f"GET /%ff answers {answer.status_code}")


async def upload(deployment: Deployment) -> Row:
    """A presigned URL accepts the announced file from a browser, and no other file."""
    person = await deployment.person()
    created = await person.ask("attachments.create", name="dot.png", size=len(PNG), mime_type="image/png")
    if created.status_code != httpx2.codes.OK:
        return judged("upload", False, f"attachments.create answers {created.status_code}")
    attachment = created.json()
    descriptor = attachment.get("upload_descriptor")
    if descriptor is None:
        return not_seen("upload", "this deployment takes no files directly: it has no bucket")
    options = {"headers": descriptor["headers"], "timeout": ASK_S}
    wrong = await deployment.http.request(descriptor["method"], descriptor["url"], content=PNG + b"!", **options)
    right = await deployment.http.request(descriptor["method"], descriptor["url"], content=PNG, **options)
    async with person.turn("What is on it?", attachments=[attachment["id"]]) as turn:
        stream = await whole(turn)
    [stored] = next(event["item"] for event in stream.events if event["type"] == "thread.item.done")["attachments"]
    preview = await deployment.http.get(stored["preview_url"], timeout=ASK_S)
    good = right.is_success and wrong.is_client_error and preview.content == PNG
    return judged(
        "upload",
        good,
        f"a file of another size is answered {wrong.status_code}, the announced one {right.status_code}; "
        f"its preview {'is the file' if preview.content == PNG else f'is not the file ({preview.status_code})'}",
    )


async def length(deployment: Deployment) -> Row:
    """Whether the front end renames content-length."""
    answer = await deployment.http.get("chat/health", timeout=ASK_S)
    names = [name for name in ("content-length", "x-amzn-remapped-content-length") if name in answer.headers]
    return seen("content-length", f"a response has {' and '.join(names) or 'neither it nor a remapped one'}")


async def cold_starts(deployment: Deployment) -> Row:
    """The latency of concurrent requests, some of which start cold, compared to one request at a time."""

    async def timed() -> float:
        began_s = deployment.now()
        answer = await deployment.http.get("chat/health", timeout=ASK_S)
        answer.raise_for_status()
        return (deployment.now() - began_s) * 1000

    alone = [await timed() for _ in range(AT_ONCE)]
    together = await asyncio.gather(*(timed() for _ in range(AT_ONCE)))
    p50, slowest = round(statistics.median(alone)), round(max(together))
    latency = f"median of one at a time: {p50} ms; slowest of {AT_ONCE} at once: {slowest} ms"
    return seen("cold starts", latency, warm_p50_ms=p50, slowest_at_once_ms=slowest)


async def models(deployment: Deployment) -> Row:
    """Whether the vendor shuts down a model of the stage soon."""
    if deployment.stage is None:
        return not_seen("models", "set STAGE= to the stage in cdk.json that has the models and the key")
    try:
        stage = read_stage(CDK_JSON, deployment.stage)
        soon = await asyncio.to_thread(retirement.looked_up, stage, today=retirement.today())
    except ChatError as fault:
        return not_seen("models", str(fault))
    if not soon:
        return judged("models", True, f"no model's shutdown is announced for the next {retirement.WARN_DAYS} days")
    return seen("models", " ".join(map(str, soon)))


ROWS = (
    *(health, page, no_token, cors, empty_body, odd_path, large_body, callers_address, upload, length),
    *(cold_starts, models),
)
