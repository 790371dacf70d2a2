"""Which requests `make dev` admits (Host and Origin checks), and which environment variables the function inherits."""

from argparse import ArgumentTypeError

import pytest

from lambda_src.dev.__main__ import inherited, origin_of
from lambda_src.dev.admission import Admission
from lambda_src.dev.emulator.url.events import Request

OWN_HOST = "127.0.0.1:8000"


def refusal(host: str | None, origin: str | None = None, *, let_in: tuple[str, ...] = ()) -> str | None:
    """Why `make dev` on port 8000 refuses such a request."""
    optional = [("host", host), ("origin", origin)]
    headers = [(name, value) for name, value in optional if value is not None]
    request = Request(method="POST", target="/chatkit", headers=headers, body=b"{}")
    return Admission(8000, let_in, warn=lambda _: None)(request)


@pytest.mark.parametrize("host", [OWN_HOST, "localhost:8000"])
@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:8000", "http://localhost:8000"])
def test_its_own_page_and_the_command_line_are_admitted(host: str, origin: str | None) -> None:
    assert refusal(host, origin) is None


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.test", "evil.test:8000", "127.0.0.1", "127.0.0.1:8001", "127.0.0.1:8000.evil.test",
     "localhost.evil.test:8000", "127.0.0.1:8000,evil.test"],
)  # fmt: skip
def test_a_foreign_host_is_refused_whatever_the_origin(host: str | None) -> None:
    assert refusal(host) is not None
    assert refusal(host, f"http://{OWN_HOST}") is not None


@pytest.mark.parametrize(
    "origin",
    ["null", "", "https://evil.test", "http://127.0.0.1:8001", "http://localhost:3000", "https://127.0.0.1:8000",
     "http://127.0.0.1", "http://127.0.0.1:8000.evil.test", "http://127.0.0.1:8000,https://evil.test"],
)  # fmt: skip
def test_a_foreign_origin_is_refused(origin: str) -> None:
    assert refusal(OWN_HOST, origin) is not None


def test_a_configured_origin_is_admitted_also_as_the_host_of_a_proxy() -> None:
    let_in = ("http://localhost:5173", "https://x-8000.app.test")
    assert refusal(OWN_HOST, "http://localhost:5173", let_in=let_in) is None
    assert refusal("x-8000.app.test", "https://x-8000.app.test", let_in=let_in) is None
    assert refusal(OWN_HOST, "http://localhost:5174", let_in=let_in) is not None


def test_a_wildcard_port_admits_every_port() -> None:
    assert refusal(OWN_HOST, "http://localhost:5174", let_in=("http://localhost:*",)) is None
    assert refusal(OWN_HOST, "http://127.0.0.1:5174", let_in=("http://localhost:*",)) is not None


def test_a_refused_origin_is_reported_once_with_the_command_that_admits_it() -> None:
    warnings: list[str] = []
    admission = Admission(8000, (), warn=warnings.append)
    for origin in ("http://localhost:5173", "http://localhost:5173", "http://a\x1b[31m\u202e"):
        admission(Request("GET", "/", [("host", OWN_HOST), ("origin", origin)], b""))
    assert warnings[0].endswith("make dev ORIGIN=http://localhost:5173")
    assert len(warnings) == 2
    assert warnings[1].isascii()
    assert warnings[1].isprintable()


@pytest.mark.parametrize("origin", ["localhost:5173", "http://localhost:5173/", "ftp://a", "http://", "*"])
def test_an_invalid_origin_flag_is_refused(origin: str) -> None:
    with pytest.raises(ArgumentTypeError, match="must be an origin such as"):
        origin_of(origin)
    assert origin_of("http://localhost:*") == "http://localhost:*"


def test_the_function_inherits_only_allowed_environment_variables() -> None:
    allowed = {"CHAT_STORE": "", "OPENAI_API_KEY": "", "PATH": "", "LC_ALL": "", "https_proxy": "", "PYTHONPATH": ""}
    withheld = {"GITHUB_TOKEN": "", "SSH_AUTH_SOCK": "", "CHATTY": "", "STRIPE_KEY": "", "DATABASE_URL": ""}
    assert inherited(allowed | withheld) == allowed
    assert inherited(allowed | withheld, more=["STRIPE_KEY"]) == allowed | {"STRIPE_KEY": ""}
