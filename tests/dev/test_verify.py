"""`make verify`: checks on faulty deployments, and the results that it records. Its streaming checks: tests/e2e."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lambda_src.dev.emulator.switches import Switches
from lambda_src.dev.verify import answers, result, unknowns
from lambda_src.dev.verify.__main__ import OUTSIDE, hashed, main, verify
from lambda_src.dev.verify.buffered import BufferedTransport
from lambda_src.dev.verify.deployment import CannotSignInError, Deployment, page_config_of
from lambda_src.dev.verify.row import Outcome, Row, judged, seen

ROOT = Path(__file__).parents[2]
OPEN: dict[str, Any] = {"auth": {"kind": "open"}}
GUESTS: dict[str, Any] = {"auth": {"kind": "guest"}}
BACKEND: dict[str, Any] = {"auth": {"kind": "backend"}}
ASSUMED = ("hang_on_empty_body", "echo_invocation_id")  # the first and the last of the emulator's assumptions


def deployment(respond: Any, config: dict[str, Any] = OPEN, **more: Any) -> Deployment:
    """A deployment that answers every request with `respond`, and whose page has `config`."""
    transport = httpx2.MockTransport(respond)
    return Deployment(
        "http://chat.test/", httpx2.AsyncClient(transport=transport, base_url="http://chat.test/"), config, **more
    )


def always(status: int = 200, headers: Mapping[str, str] | None = None) -> Any:
    """The same response to every request."""
    return lambda request: httpx2.Response(status, headers=headers, json={"status": "healthy"})


async def test_a_deployment_that_requires_no_token_fails() -> None:
    row = await answers.no_token(deployment(always(200), BACKEND))
    assert (row.outcome, row.what) == (Outcome.FAILED, "answered 200")


async def test_a_deployment_that_allows_every_origin_fails() -> None:
    row = await answers.cors(deployment(always(headers={"access-control-allow-origin": "*"})))
    assert row.outcome is Outcome.FAILED
    assert "the preflight to https://stranger.invalid allows ['*']" in row.what


async def test_a_repeated_cors_header_fails() -> None:
    def twice(request: httpx2.Request) -> httpx2.Response:
        origin = request.headers["origin"]
        allowed = [("access-control-allow-origin", origin)] * 2 if origin == "https://ours.test" else []
        return httpx2.Response(200, headers=allowed)

    row = await answers.cors(deployment(twice, origin="https://ours.test"))
    assert row.outcome is Outcome.FAILED
    assert "the preflight to https://ours.test allows" in row.what
    assert "exposes no header" in row.what


async def test_a_deployment_that_hangs_on_a_response_without_a_body_fails() -> None:
    def hangs(request: httpx2.Request) -> httpx2.Response:
        if request.method == "HEAD":
            raise httpx2.ReadTimeout("", request=request)
        return httpx2.Response(405)

    row = await answers.empty_body(deployment(hangs))
    assert (row.outcome, "HEAD /: hangs" in row.what) == (Outcome.FAILED, True)


async def test_a_page_without_a_content_security_policy_fails() -> None:
    assert (await answers.page(deployment(always()))).outcome is Outcome.FAILED


async def test_with_guests_each_simulated_person_is_a_new_guest() -> None:
    numbers = iter("12")

    def mint(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/auth/guest"
        return httpx2.Response(200, json={"token": f"guest-{next(numbers)}", "expires_at": 0})

    guest_deployment = deployment(mint, {**GUESTS, "token_header": "x-chat-authorization"})
    headers = [(await guest_deployment.person()).headers for _ in range(2)]
    assert headers == [{"x-chat-authorization": "Bearer guest-1"}, {"x-chat-authorization": "Bearer guest-2"}]


async def test_without_a_token_only_the_rows_that_need_one_are_skipped() -> None:
    rows = [row async for row in verify(deployment(always(413), BACKEND), OUTSIDE)]
    by_name = {row.name: row for row in rows}
    assert by_name["large-body"].outcome is by_name["stop"].outcome is Outcome.NOT_SEEN
    assert by_name["stop"].what == "a token is needed: put one into CHAT_TOKEN"
    assert by_name["health"].outcome is Outcome.FAILED
    with pytest.raises(CannotSignInError):
        await deployment(always(), BACKEND).person()


async def test_an_unreachable_deployment_fails_row_by_row() -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    rows = [row async for row in verify(deployment(refuse), ["health", "deltas"])]
    assert [row.what for row in rows if row.outcome is Outcome.FAILED] == ["ConnectError: refused"] * 2


async def test_a_response_that_is_not_an_event_stream_fails() -> None:
    rows = [row async for row in verify(deployment(lambda _: httpx2.Response(429, text="enough")), ["deltas"])]
    assert rows[0].what == "ValueError: the turn was answered 429: enough"


async def test_when_cloudfront_signs_requests_each_body_is_sent_with_its_hash() -> None:
    request = httpx2.Request("POST", "https://chat.test/chatkit", content=b"{}")
    await hashed(request)
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert request.headers["x-amz-content-sha256"] == digest


def test_a_page_that_is_not_ours_is_reported() -> None:
    with pytest.raises(ValueError, match="holds no page-config"):
        page_config_of("<html></html>")
    assert page_config_of('<script type="application/json" id="page-config">{"auth":{}}</script>') == {"auth": {}}


@pytest.mark.parametrize("url", ["", "chat.example.org", "ftp://chat.example.org", "https://"])
def test_an_invalid_url_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([url], {}) == 1
    assert "as `make deploy` printed it" in capsys.readouterr().out


def test_an_unreachable_url_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1"], {}) == 1
    assert "cannot be verified: ConnectError" in capsys.readouterr().out


# Single checks


@pytest.mark.parametrize(("status", "outcome"), [(400, Outcome.OK), (404, Outcome.OK), (502, Outcome.FAILED)])
async def test_a_path_that_is_not_utf_8_must_not_be_a_server_error(status: int, outcome: Outcome) -> None:
    row = await answers.odd_path(deployment(always(status)))
    assert (row.name, row.outcome) == ("odd path", outcome)


async def test_the_callers_address_is_checked_by_default() -> None:
    assert "callers-address" in OUTSIDE


# Through the local AWS, whose function URLs return the invocation's result as JSON


def local(result: Any) -> httpx2.AsyncClient:
    transport = BufferedTransport(httpx2.MockTransport(lambda _: httpx2.Response(200, json=result)))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:4566/_aws/lambda-url/abc/")


async def test_a_buffered_result_is_unpacked_into_a_response() -> None:
    result = {"statusCode": 401, "headers": {"x-request-id": "1"}, "body": "bm8=", "isBase64Encoded": True}
    answer = await local(result).get("chatkit")
    assert (answer.status_code, answer.headers["x-request-id"], answer.text) == (401, "1", "no")


@pytest.mark.parametrize("result", [{"message": "Not Found"}, [], {"statusCode": "?"}])
async def test_any_other_json_is_passed_on_unchanged(result: Any) -> None:
    answer = await local(result).get("chatkit")
    assert (answer.status_code, answer.json()) == (200, result)


async def test_checks_that_the_local_aws_does_not_support_are_marked() -> None:
    rows = [row async for row in verify(deployment(always()), ["health", "stop"], local=True)]
    assert [row.outcome for row in rows[:2]] == [Outcome.OK, Outcome.NOT_HERE]
    assert rows[1].what == "the local AWS buffers responses"


# Behavior of AWS that is unknown


def test_every_behavior_that_the_emulator_only_assumes_has_a_row() -> None:
    names = [field.name for field in fields(Switches)]
    first, last = (names.index(name) for name in ASSUMED)
    assert set(names[first : last + 1]) == unknowns.SEEN_BY.keys() | unknowns.UNSEEN.keys()


def test_the_docs_say_how_to_observe_every_behavior_without_a_row() -> None:
    page = (ROOT / "docs/reference/unknown-behaviors.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if line.startswith("| ")]
    assert rows[1:] == [name for name, _ in unknowns.UNSEEN.values()]


def test_a_behavior_whose_row_failed_stays_unknown() -> None:
    rows = {row.name: row for row in unknowns.rows([seen("small chunks", "held back")])}
    assert rows["unknown: hold_small_chunks"].outcome is Outcome.SEEN
    assert rows["unknown: freeze"].outcome is Outcome.NOT_SEEN


# Recorded results


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://abc123.lambda-url.eu-central-1.on.aws/", ("function url", "eu-central-1")),
        ("https://abc123.execute-api.us-east-1.amazonaws.com/live/", ("api gateway", "us-east-1")),
        ("https://d111.cloudfront.net/", ("cloudfront", None)),
        ("http://127.0.0.1:8000", ("emulator", None)),
        ("https://chat.example.org/", ("domain", None)),
        ("https://127.0.0.1.example.org/", ("domain", None)),
    ],
)
def test_a_url_is_recorded_by_its_kind_and_region(url: str, kind: tuple[str, str | None]) -> None:
    assert result.kind_of(url) == kind


def test_no_account_address_or_token_is_recorded(tmp_path: Path) -> None:
    private = [
        "123456789012",
        "arn:aws:lambda:eu-central-1:123456789012:function:chat",
        "abc123.lambda-url.eu-central-1.on.aws",
        "d111abc.cloudfront.net",
        "chatkit-prod-data-storagebucket5cb7c8ea-abc.s3.eu-central-1.amazonaws.com",
        "chatkit-prod-api-ChatFunctionD42E891B-abc",
        "ops@example.org",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "chat.example.org",
    ]
    rows = [judged("health", False, f"ConnectError: {text} is gone") for text in private]
    document = result.document("https://chat.example.org/", rows, when=datetime(2026, 11, 22, tzinfo=UTC), release="1")
    path = result.write(tmp_path, document)
    assert path.name == "2026-11-22-domain.json"
    assert [text for text in private if text in path.read_text()] == []
    assert json.loads(path.read_text())["rows"][0]["figures"] == {}


RECORDED = sorted((ROOT / "docs" / "verified").glob("*.json"))
ON_AWS = [path for path in RECORDED if json.loads(path.read_text())["kind"] != result.EMULATOR]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_a_recorded_result_is_complete_and_holds_nothing_private(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**{**row, "outcome": Outcome(row["outcome"])}) for row in document["rows"]]
    assert {row.name for row in rows} >= {"health", "deltas", "Stop", "duplicate", "resume", "CORS", "cold starts"}
    assert result.scrubbed(path.read_text(encoding="utf-8")) == path.read_text(encoding="utf-8")


def test_the_readme_lists_the_results_on_aws_or_says_that_there_are_none() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert ("No result on real AWS is recorded yet" in readme) == (ON_AWS == [])
    assert all(path.name in readme for path in ON_AWS)


@pytest.mark.skipif(bool(ON_AWS), reason="a result on AWS is recorded, so the word may be used")
@pytest.mark.parametrize(
    "page", ["README.md", *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
)
def test_without_a_result_on_aws_no_page_mentions_production(page: str) -> None:
    assert "production" not in (ROOT / page).read_text(encoding="utf-8").lower()


def counting_by(counted: str, *, own_address: str | None = "203.0.113.9") -> Any:
    """Respond as a deployment that counts guests by `counted`, and as the service that returns our own address."""

    def respond(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "checkip.amazonaws.com":
            return httpx2.Response(503) if own_address is None else httpx2.Response(200, text=f"{own_address}\n")
        assert request.headers["x-forwarded-for"] == answers.OTHER_ADDRESS
        return httpx2.Response(200, json={"token": "t", "expires_at": 1, "counted_as": counted})

    return respond


@pytest.mark.parametrize(
    ("counted", "own_address", "outcome", "message"),
    [
        ("203.0.113.9", "203.0.113.9", Outcome.OK, "is that of this machine"),
        ("2001:db8:1:2::/64", "2001:db8:1:2::9", Outcome.OK, "is that of this machine"),
        ("130.176.1.1", "203.0.113.9", Outcome.FAILED, "not this machine's"),
        (answers.OTHER_ADDRESS, "203.0.113.9", Outcome.FAILED, "a caller may choose"),
        ("2001:db8:1:2::/64", "203.0.113.9", Outcome.NOT_SEEN, "different IP versions"),
        ("203.0.113.9", None, Outcome.NOT_SEEN, "did not return this machine's address"),
    ],
)
async def test_guests_must_be_counted_by_the_address_of_the_caller(
    counted: str, own_address: str | None, outcome: Outcome, message: str
) -> None:
    row = await answers.callers_address(deployment(counting_by(counted, own_address=own_address), GUESTS))
    assert (row.outcome, message in row.what) == (outcome, True), row.what
    assert "203.0.113.9" not in row.what, "rows are committed and must hold no address"


async def test_without_guests_the_callers_address_is_not_checked() -> None:
    assert (await answers.callers_address(deployment(always(), BACKEND))).outcome is Outcome.NOT_SEEN
