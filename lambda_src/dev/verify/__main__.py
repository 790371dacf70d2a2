"""`make verify URL=...`: checks a deployment from outside and writes the result. Exit code 1 if a check failed."""

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
from lambda_src.dev.verify.deployment import ASK_S, PROMPT, CannotSignInError, Deployment, page_config_of
from lambda_src.dev.verify.row import Outcome, Row, judged, not_here, not_seen

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "verified"

console = Console(highlight=False)


Check = Callable[[Deployment], Awaitable[Row | list[Row]]]


def _named(checks: Sequence[Check]) -> dict[str, Check]:
    return {check.__name__.replace("_", "-"): check for check in checks}


OUTSIDE = _named([*answers.ROWS, *streams.ROWS])
INSIDE = _named(inside.ROWS)
CHECKS = OUTSIDE | INSIDE | _named(inside.ON_THE_PROOF_ONLY)
NOT_LAMBDA = "the local AWS runs the handler itself: it has no Lambda environments, reports or limits"
NOT_LOCAL = {  # checks that a local AWS cannot run, and why
    **dict.fromkeys(_named(streams.ROWS), "the local AWS buffers responses"),
    **dict.fromkeys(("large-body", "cold-starts", "log-starts", "log-invocations", "longest-timeout"), NOT_LAMBDA),
    "alarm-delivered": "the local AWS does not run alarm actions",
}


async def verify(deployment: Deployment, names: Collection[str], *, local: bool = False) -> AsyncIterator[Row]:
    """Run the checks with these names and yield their rows. A check that cannot run yields a row that says why.

    `local`: the deployment is on a local AWS, which lacks some features of AWS.
    """
    finished: list[Row] = []
    for name in names:
        check = CHECKS[name]
        if local and name in NOT_LOCAL:
            finished.append(not_here(name, NOT_LOCAL[name]))
            yield finished[-1]
            continue
        try:
            checked = await check(deployment)
            rows = checked if isinstance(checked, list) else [checked]
        except CannotSignInError as fault:
            rows = [not_seen(name, str(fault))]
        except (ClientError, BotoCoreError) as fault:
            rows = [not_seen(name, f"AWS did not answer: {type(fault).__name__}")]
        except (httpx2.HTTPError, ValueError, LookupError, TimeoutError) as fault:  # an unexpected response
            rows = [judged(name, False, f"{type(fault).__name__}: {fault}")]
        for row in rows:
            finished.append(row)
            yield row
    for row in unknowns.rows(finished):
        yield row


async def hashed(request: httpx2.Request) -> None:
    """Add the SHA-256 of the body as a header, which CloudFront needs to sign requests to a function URL."""
    if request.content:
        request.headers["x-amz-content-sha256"] = hashlib.sha256(request.content).hexdigest()


async def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run the checks, print and write the result. Returns the exit code."""
    url = options.url if options.url.endswith("/") else f"{options.url}/"
    local = urlsplit(url).path.startswith(PATH)
    transport = BufferedTransport() if local else None
    async with httpx2.AsyncClient(base_url=url, trust_env=True, follow_redirects=False, transport=transport) as http:
        try:
            page = await http.get("", timeout=ASK_S)
            page_config = page_config_of(page.text)
        except (httpx2.HTTPError, ValueError) as fault:
            console.print(f"[red]{url} cannot be verified:[/] {type(fault).__name__}: {fault}")
            return 1
        try:
            parts = (
                inside.find(options.inside, client=_client, since_ms=round(time.time() * 1000))
                if options.inside
                else None
            )
        except (ClientError, BotoCoreError, LookupError) as fault:
            console.print(f"[red]stage {options.inside} cannot be inspected:[/] {fault}")
            return 1
        if page_config.get("token_header", "authorization") != "authorization":
            http.event_hooks = {"request": [hashed]}
        deployment = Deployment(
            url, http, page_config, prompt=options.prompt, origin=options.origin, deadline_s=options.timeout,
            token=environ.get("CHAT_TOKEN"), stage=options.stage, inside=parts,
        )  # fmt: skip
        names = options.only or [*OUTSIDE, *(INSIDE if parts else ())]
        with console.status("checking ..."):
            rows = [row async for row in verify(deployment, names, local=local)]
    result.show(rows, console)
    document = result.document(url, rows, when=datetime.now(UTC), release=release())
    if options.out is not None:
        path = result.write(options.out, document)
        console.print(f"\nwritten to {path}, without addresses or account ids")
    failed = [row.name for row in rows if row.outcome is Outcome.FAILED]
    console.print(f"[red]failed: {', '.join(failed)}[/]" if failed else "nothing failed")
    return 1 if failed else 0


def _client(service: str) -> Any:  # noqa: ANN401 - boto3's clients have no common type
    """A client for the account and region that the environment selects."""
    return boto3.client(service)  # type: ignore[call-overload] # mypy does not know the service


def release() -> str:
    """The release that runs the checks, from pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Verify the deployment at a URL."""
    parser = argparse.ArgumentParser(prog="make verify", description="Checks a deployment from outside.")
    parser.add_argument("url", help="https://... as `make deploy` printed it, or http://127.0.0.1:8000")
    parser.add_argument("--prompt", default=PROMPT, help="the message to send; its answer should take a few seconds")
    parser.add_argument("--origin", help="a site that may call, one of cors_origins")
    parser.add_argument("--stage", help="its stage in cdk.json, to check whether its models are shut down soon")
    parser.add_argument("--timeout", type=float, help="the stage's timeout_s, if the prompt's answer takes longer")
    parser.add_argument("--only", choices=CHECKS, action="append", help="run only this check (can be repeated)")
    parser.add_argument(
        "--inside", metavar="STAGE", help="also check this stage through AWS's APIs (needs credentials)"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the result (docs/verified)")
    options = parser.parse_args(arguments)
    if urlsplit(options.url).scheme not in ("http", "https") or not urlsplit(options.url).hostname:
        console.print(f"[red]URL={options.url} is invalid:[/] https://..., as `make deploy` printed it.")
        return 1
    return asyncio.run(run(options, environ))


if __name__ == "__main__":
    sys.exit(main())
