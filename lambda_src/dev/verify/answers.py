"""Rows about single answers: is it there, whom does it let in, what stands between it and us. Knows no stream."""

import asyncio
import statistics
from urllib.parse import urlsplit

import httpx2

from lambda_src.cli import retirement
from lambda_src.cli.secret import CDK_JSON
from lambda_src.cli.stage import read_stage
from lambda_src.dev.verify.deployment import ASK_S, Deployment, whole
from lambda_src.dev.verify.row import Row, judged, not_seen, seen
from lambda_src.errors import ChatError
from lambda_src.quotas.source_addresses import network_of

STRANGER = "https://stranger.invalid"  # no site's origin
AT_ONCE = 5  # requests at a time: a new account has ten executions
LOOPBACK = "127.0.0.1"
SOMEBODY_ELSE = "198.51.100.7"  # an address for documentation (RFC 5737): nobody calls from there
ECHO = "https://checkip.amazonaws.com/"  # answers with the address that it was called from
PNG = bytes.fromhex(  # one pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
OVER_OURS, OVER_LAMBDAS = 1_100_000, 6_400_000  # bytes: more than the app takes, more than Lambda does


async def health(deployment: Deployment) -> Row:
    """It answers at all."""
    answer = await deployment.http.get("chat/health", timeout=ASK_S)
    good = answer.status_code == httpx2.codes.OK and answer.json().get("status") == "healthy"
    return judged("health", good, f"GET /chat/health answers {answer.status_code}", http=answer.http_version)


async def page(deployment: Deployment) -> Row:
    """Its page comes with a policy that no script gets around."""
    answer = await deployment.http.get("", timeout=ASK_S)
    policy = answer.headers.get("content-security-policy", "")
    good = answer.status_code == httpx2.codes.OK and "default-src 'none'" in policy
    kind = deployment.told["auth"]["kind"]
    return judged(
        "page", good, f"GET / answers {answer.status_code}; people sign in: {kind}", bytes=len(answer.content)
    )


async def no_token(deployment: Deployment) -> Row:
    """Nobody gets in without a token."""
    answer = await deployment.http.post("chatkit", json={"type": "threads.list", "params": {}}, timeout=ASK_S)
    if deployment.is_open:
        return seen("no token", f"answered {answer.status_code}: this one is open to whoever reaches it, a laptop's")
    return judged("no token", answer.status_code == httpx2.codes.UNAUTHORIZED, f"answered {answer.status_code}")


async def cors(deployment: Deployment) -> Row:
    """A stranger's page may not call; the one that was named may, and reads the headers it needs."""
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    wrong: list[str] = []
    for origin, may in ((STRANGER, False), (deployment.origin, True)):
        if origin is None:
            continue
        preflight = await deployment.http.options("chatkit", headers={"origin": origin, **asked}, timeout=ASK_S)
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
    """What has no body is answered all the same: function URLs are reported to hang on it."""
    asked = {
        "HEAD /": deployment.http.head("", timeout=ASK_S),
        "POST /chatkit without a body": deployment.http.post("chatkit", content=b"", timeout=ASK_S),
        "OPTIONS /chat/health": deployment.http.options("chat/health", timeout=ASK_S),
    }
    told, hung = [], False
    for what, request in asked.items():
        try:
            told.append(f"{what}: {(await request).status_code}")
        except httpx2.TimeoutException:
            hung = True
            told.append(f"{what}: hangs")
    return judged("empty body", not hung, "; ".join(told))


async def large_body(deployment: Deployment) -> Row:
    """A body over a limit is refused in words by us, and by Lambda where we never see it."""
    person = await deployment.person()
    statuses = []
    for size in (OVER_OURS, OVER_LAMBDAS):
        answer = await deployment.http.post("chatkit", content=b" " * size, headers=person.headers, timeout=ASK_S)
        statuses.append(answer.status_code)
    told = f"{OVER_OURS} bytes: {statuses[0]}; {OVER_LAMBDAS} bytes: {statuses[1]}"
    return judged("large body", statuses == [413, 413], told)


async def callers_address(deployment: Deployment) -> Row:
    """Guests are counted by the address that they call from, not by a proxy's, and not by one that they name."""
    name = "caller's address"
    if not deployment.has_guests:
        return not_seen(name, "it is counted for guests only, and this deployment has none")
    lie = {"x-forwarded-for": SOMEBODY_ELSE}
    answer = await deployment.http.post("auth/guest", headers=lie, timeout=ASK_S)
    answer.raise_for_status()
    counted = str(answer.json()["counted_as"])
    if counted == SOMEBODY_ELSE:
        return judged(name, False, "a caller may choose, in X-Forwarded-For, the address that it is counted by")
    host = urlsplit(deployment.url).hostname or ""
    try:
        ours = host if host == LOOPBACK else (await deployment.http.get(ECHO, timeout=ASK_S)).raise_for_status().text
    except httpx2.HTTPError as fault:
        return not_seen(name, f"{ECHO} does not say what this machine's address is: {type(fault).__name__}")
    ours = network_of(ours.strip())
    if (":" in ours) != (":" in counted):
        return not_seen(name, f"{ECHO} and the deployment see this machine by different versions of IP: try from IPv4")
    told = "that of this machine" if counted == ours else "not this machine's: all guests behind a proxy share a limit"
    return judged(name, counted == ours, f"the address that guests are counted by is {told}")


async def odd_path(deployment: Deployment) -> Row:
    """A path that is not UTF-8 is answered in words, by us or by AWS: an error of the function would ring an alarm."""
    answer = await deployment.http.get("%ff", timeout=ASK_S)
    return judged("odd path", answer.is_client_error, f"GET /%ff answers {answer.status_code}")


async def upload(deployment: Deployment) -> Row:
    """A presigned URL takes a file from a browser, and nothing but the file that was announced."""
    person = await deployment.person()
    created = await person.ask("attachments.create", name="dot.png", size=len(PNG), mime_type="image/png")
    if created.status_code != httpx2.codes.OK:
        return judged("upload", False, f"attachments.create answers {created.status_code}")
    told = created.json()
    where = told.get("upload_descriptor")
    if where is None:
        return not_seen("upload", "this deployment takes no files directly: it has no bucket")
    content = {"headers": where["headers"], "timeout": ASK_S}
    wrong = await deployment.http.request(where["method"], where["url"], content=PNG + b"!", **content)
    right = await deployment.http.request(where["method"], where["url"], content=PNG, **content)
    async with person.turn("What is on it?", attachments=[told["id"]]) as turn:
        stream = await whole(turn)
    [kept] = next(event["item"] for event in stream.events if event["type"] == "thread.item.done")["attachments"]
    shown = await deployment.http.get(kept["preview_url"], timeout=ASK_S)
    good = right.is_success and wrong.is_client_error and shown.content == PNG
    return judged(
        "upload",
        good,
        f"a file of another size is answered {wrong.status_code}, the announced one {right.status_code}; "
        f"its preview {'is the file' if shown.content == PNG else f'is not the file ({shown.status_code})'}",
    )


async def length(deployment: Deployment) -> Row:
    """Whether the front renames content-length."""
    answer = await deployment.http.get("chat/health", timeout=ASK_S)
    names = [name for name in ("content-length", "x-amzn-remapped-content-length") if name in answer.headers]
    return seen("content-length", f"an answer carries {' and '.join(names) or 'neither it nor a remapped one'}")


async def cold_starts(deployment: Deployment) -> Row:
    """What an answer takes when several come at once, against one at a time; more environments than were warm start."""

    async def timed() -> float:
        began_s = deployment.now()
        answer = await deployment.http.get("chat/health", timeout=ASK_S)
        answer.raise_for_status()
        return (deployment.now() - began_s) * 1000

    alone = [await timed() for _ in range(AT_ONCE)]
    together = await asyncio.gather(*(timed() for _ in range(AT_ONCE)))
    p50, slowest = round(statistics.median(alone)), round(max(together))
    told = f"one at a time {p50} ms in the middle; the slowest of {AT_ONCE} at once {slowest} ms"
    return seen("cold starts", told, warm_p50_ms=p50, slowest_at_once_ms=slowest)


async def models(deployment: Deployment) -> Row:
    """Whether a model of the stage is shut down soon, as its vendor says."""
    if deployment.stage is None:
        return not_seen("models", "STAGE= names the stage of cdk.json whose models and key to look up")
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
