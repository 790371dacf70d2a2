"""`make verify URL=...`: look at a deployment from outside, write down what was seen. Exit code 1 when a row failed."""

import argparse
import asyncio
import hashlib
import os
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx2
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from lambda_src.dev.verify import answers, inside, result, streams, unknowns
from lambda_src.dev.verify.buffered import PATH, BufferedTransport
from lambda_src.dev.verify.deployment import ASK_S, PROMPT, CannotSignInError, Deployment, told_by
from lambda_src.dev.verify.row import Outcome, Row, judged, not_here, not_seen

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "verified"

console = Console(highlight=False)


Look = Callable[[Deployment], Awaitable[Row | list[Row]]]


def _named(looks: Sequence[Look]) -> dict[str, Look]:
    return {look.__name__.replace("_", "-"): look for look in looks}


OUTSIDE = _named([*answers.ROWS, *streams.ROWS])
INSIDE = _named(inside.ROWS)
LOOKS = OUTSIDE | INSIDE | _named(inside.ON_THE_PROOF_ONLY)
NOT_LAMBDA = "the local AWS runs the handler itself: it has no environments, no reports and no limits of Lambda's"
NOT_LOCAL = {  # what the local AWS cannot show
    **dict.fromkeys(_named(streams.ROWS), "the local AWS sends an answer when it is whole"),
    **dict.fromkeys(("large-body", "cold-starts", "log-starts", "log-invocations", "longest-timeout"), NOT_LAMBDA),
    "alarm-delivered": "the local AWS runs no alarm's action",
}


async def verify(deployment: Deployment, names: Collection[str], *, local: bool = False) -> AsyncIterator[Row]:
    """The rows of these names, as they are found. One that cannot be looked at says why, and the others go on.

    local: the deployment is on a local AWS, which does not have all that AWS has.
    """
    found: list[Row] = []
    for name in names:
        look = LOOKS[name]
        if local and name in NOT_LOCAL:
            found.append(not_here(name, NOT_LOCAL[name]))
            yield found[-1]
            continue
        try:
            told = await look(deployment)
            rows = told if isinstance(told, list) else [told]
        except CannotSignInError as fault:
            rows = [not_seen(name, str(fault))]
        except (ClientError, BotoCoreError) as fault:
            rows = [not_seen(name, f"AWS does not tell: {type(fault).__name__}")]
        except (httpx2.HTTPError, ValueError, LookupError, TimeoutError) as fault:  # what an answer can do to us
            rows = [judged(name, False, f"{type(fault).__name__}: {fault}")]
        for row in rows:
            found.append(row)
            yield row
    for row in unknowns.rows(found):
        yield row


async def hashed(request: httpx2.Request) -> None:
    """Where CloudFront signs, it wants the SHA-256 of each body from whoever sends one."""
    if request.content:
        request.headers["x-amz-content-sha256"] = hashlib.sha256(request.content).hexdigest()


async def run(asked: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Verify, show, write. Returns the exit code."""
    url = asked.url if asked.url.endswith("/") else f"{asked.url}/"
    local = urlsplit(url).path.startswith(PATH)
    transport = BufferedTransport() if local else None
    async with httpx2.AsyncClient(base_url=url, trust_env=True, follow_redirects=False, transport=transport) as http:
        try:
            page = await http.get("", timeout=ASK_S)
            told = told_by(page.text)
        except (httpx2.HTTPError, ValueError) as fault:
            console.print(f"[red]{url} cannot be verified:[/] {type(fault).__name__}: {fault}")
            return 1
        try:
            parts = (
                inside.find(asked.inside, client=_client, since_ms=round(time.time() * 1000)) if asked.inside else None
            )
        except (ClientError, BotoCoreError, LookupError) as fault:
            console.print(f"[red]stage {asked.inside} cannot be looked into:[/] {fault}")
            return 1
        if told.get("token_header", "authorization") != "authorization":
            http.event_hooks = {"request": [hashed]}
        deployment = Deployment(
            url, http, told, prompt=asked.prompt, origin=asked.origin, deadline_s=asked.timeout,
            token=environ.get("CHAT_TOKEN"), stage=asked.stage, inside=parts,
        )  # fmt: skip
        names = asked.only or [*OUTSIDE, *(INSIDE if parts else ())]
        with console.status("looking ..."):
            rows = [row async for row in verify(deployment, names, local=local)]
    result.show(rows, console)
    document = result.document(url, rows, when=datetime.now(UTC), release=release())
    if asked.out is not None:
        path = result.write(asked.out, document)
        console.print(f"\nwritten to {path}, without addresses and accounts")
    failed = [row.name for row in rows if row.outcome is Outcome.FAILED]
    console.print(f"[red]failed: {', '.join(failed)}[/]" if failed else "nothing failed")
    return 1 if failed else 0


def _client(service: str) -> Any:  # noqa: ANN401 - boto3's clients have no common type
    """A client of the account and region that the environment names."""
    return boto3.client(service)  # type: ignore[call-overload] # the service is not known to mypy


def release() -> str:
    """The release that verifies, as pyproject.toml says."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Verify the deployment at a URL."""
    parser = argparse.ArgumentParser(prog="make verify", description="What a deployment does, seen from outside.")
    parser.add_argument("url", help="https://... as `make deploy` printed it, or http://127.0.0.1:8000")
    parser.add_argument("--prompt", default=PROMPT, help="what to ask for: an answer of some seconds")
    parser.add_argument("--origin", help="a site that may call, as in cors_origins")
    parser.add_argument("--stage", help="its stage in cdk.json, to look up whether its models are shut down soon")
    parser.add_argument("--timeout", type=float, help="the stage's timeout_s, if the prompt's answer takes longer")
    parser.add_argument("--only", choices=LOOKS, action="append", help="this row and no other; again for one more")
    parser.add_argument("--inside", metavar="STAGE", help="also ask AWS about this stage (needs credentials)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the result (docs/verified)")
    asked = parser.parse_args(arguments)
    if urlsplit(asked.url).scheme not in ("http", "https") or not urlsplit(asked.url).hostname:
        console.print(f"[red]URL={asked.url} is none:[/] https://..., as `make deploy` printed it.")
        return 1
    return asyncio.run(run(asked, environ))


if __name__ == "__main__":
    sys.exit(main())
