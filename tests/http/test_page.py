"""The web page route: security headers, content security policy, caching, and the page's configuration."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lambda_src.errors import SettingsError
from lambda_src.http.page import CHATKIT, SECURITY_HEADERS, Page, page_of
from lambda_src.settings import Settings
from lambda_src.store.memory.store import MemoryStore
from tests.apps.chat import Answer, Chat, app_with, message, server_with

STYLE = "body{margin:0}"
HTML = f"""<!doctype html><style>{STYLE}</style>
<script type="application/json" id="page-config">{{}}</script>
<script type="module" src="static/main-AB12.js"></script>"""
EMBED = "(stage=>{use({})})({})\n"
BUCKET = "https://bucket.s3.eu-central-1.amazonaws.com"
SIGNED_IN = {"CHAT_AUTH_ISSUER": "https://issuer.test/pool", "CHAT_AUTH_AUDIENCE": "chat", "CHAT_STORE": "memory"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a built page."""
    files = {
        "index.html": HTML,
        "chat-client.js": "//",
        "embed.js": EMBED,
        "static/main-AB12.js": "1",
        "secret.py": "no",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def chat_with(page: Page | None) -> Chat:
    return Chat(app_with(server_with(MemoryStore()), page=page))


@pytest.fixture
def chat(folder: Path) -> Chat:
    return chat_with(Page(config={"auth": "</script><script>alert(1)"}, folder=folder, origins=(BUCKET,)))


@pytest.fixture
def with_chatkit(folder: Path) -> Chat:
    """A client of an app whose page may use OpenAI's component."""
    return chat_with(Page(config={"domain_key": "domain_pk_1"}, folder=folder, origins=(BUCKET,)))


def policy_of(page: Answer) -> dict[str, list[str]]:
    """Return the content security policy: directive -> sources."""
    parts = [part.split() for part in page.headers["content-security-policy"].split(";")]
    return {name: sources for name, *sources in parts}


def page_config(env: dict[str, str]) -> dict[str, Any]:
    """Return the page's configuration with these settings."""
    page = page_of(Settings.from_env(SIGNED_IN | env), upload_origin=None, dictation=False)
    return dict(page.config)


async def test_the_title_of_the_stage_is_in_the_html_as_text(folder: Path) -> None:
    (folder / "index.html").write_text(f"<title>Chat</title>{HTML}")
    chat = chat_with(Page(config={"page": {"title": "Shop </title><script>"}}, folder=folder))
    html = (await chat.post(b"", "/", "GET")).body.decode()
    assert "<title>Shop &lt;/title&gt;&lt;script&gt;</title>" in html


async def test_a_logo_is_an_image_of_this_site_that_runs_no_scripts(folder: Path) -> None:
    logo = folder / "logo.svg"
    logo.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    answer = await chat_with(Page(config={}, folder=folder, logo_file=logo)).post(b"", "/logo", "GET")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")
    assert answer.headers["content-security-policy"].endswith("sandbox")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_without_a_logo_the_route_is_a_404(chat: Chat) -> None:
    assert (await chat.post(b"", "/logo", "GET")).status == 404


def test_a_stages_brand_and_models_are_in_the_pages_configuration() -> None:
    labels = [{"name": "large", "label": "Thorough"}, {"name": "pay", "label": "Pay"}, {"name": "other", "label": "-"}]
    page: dict[str, Any] = {"title": "Shop", "logo": "logo.svg", "labels": labels}
    page["assistants"] = [{"name": "", "label": "Help"}, {"name": "sales", "label": "Sales", "models": ["large"]}]
    offered = {"CHAT_MODELS": "small,large", "CHAT_TOOL_CHOICES": "pay,look_it-up"}
    config = page_config({"CHAT_PAGE": json.dumps(page), **offered})
    assert (config["page"]["title"], config["page"]["logo"]) == ("Shop", True)
    assert config["features"]["models"] == [{"id": "small", "label": "small"}, {"id": "large", "label": "Thorough"}]
    tools = [{"id": "pay", "label": "Pay"}, {"id": "look_it-up", "label": "Look it up"}]
    assert config["features"]["tools"] == tools
    assert [assistant.get("models") for assistant in config["page"]["assistants"]] == [
        None,
        [{"id": "large", "label": "Thorough"}],
    ]


@pytest.mark.parametrize(
    ("env", "sign_in"),
    [
        ({}, {"kind": "backend"}),
        ({"CHAT_GUEST_SECRET": "arn:secret"}, {"kind": "backend"}),
        ({"CHAT_GUEST_SECRET": "arn:secret", "CHAT_AUTH_CLIENT_ID": "page"}, {"kind": "issuer", "guests": False}),
    ],
)
def test_nobody_is_a_guest_on_the_operators_page(env: dict[str, str], sign_in: dict[str, Any]) -> None:
    stage = {**SIGNED_IN, "CHAT_DOMAIN_KEY": "domain_pk_1", "CHAT_CORS_ORIGINS": "https://shop.test", **env}
    page = page_of(Settings.from_env(stage), upload_origin=None, dictation=False).for_operators()
    assert sign_in.items() <= page.config["auth"].items()
    assert (page.config["domain_key"], page.embedded_by) == (None, None)


@pytest.mark.parametrize(
    "assistants",
    [
        "sales",
        [{"name": "sales"}],
        [{"name": "sales", "label": 1}],
        [{"name": "sales", "label": "Sales", "prompts": [{"label": "a"}]}],
        [{"name": "sales", "label": "Sales", "models": "large"}],
        [{"name": "sales", "label": "Sales", "colour": "red"}],
    ],
)
def test_wrong_assistants_of_the_page_are_refused(assistants: object) -> None:
    with pytest.raises(SettingsError, match="assistants must be a list of objects with name and label"):
        page_config({"CHAT_PAGE": json.dumps({"assistants": assistants})})


def test_an_assistants_own_models_and_tools_have_labels_in_the_pages_configuration() -> None:
    sales = {"name": "sales", "label": "Sales", "models": ["large"], "tool_choices": ["look_up_price"]}
    page = {"assistants": [{"name": "", "label": "Help"}, sales], "labels": [{"name": "large", "label": "Best"}]}
    help_, sales_ = page_config({"CHAT_PAGE": json.dumps(page)})["page"]["assistants"]
    assert (help_["models"], help_["tools"]) == (None, None)
    assert sales_["models"] == [{"id": "large", "label": "Best"}]
    assert sales_["tools"] == [{"id": "look_up_price", "label": "Look up price"}]


async def test_every_answer_carries_the_security_headers(chat: Chat) -> None:
    answers = [
        await chat("threads.list"),
        await chat("threads.create", input=message("hi")),
        await chat("threads.get_by_id", thread_id="no"),
        await chat.as_(None)("threads.list"),
        await chat.post(b"", "/", "GET"),
        await chat.post(b"", "/static/main-AB12.js", "GET"),
        await chat.post(b"", "/nothing", "GET"),
    ]
    for answer in answers:
        assert SECURITY_HEADERS.items() <= answer.headers.items()


async def test_answers_are_not_cached_by_default(chat: Chat) -> None:
    answers = [
        await chat("threads.list"),
        await chat("threads.get_by_id", thread_id="no"),
        await chat.as_(None)("threads.list"),
        await chat.post(b"{}", "/chatkit/stop"),
        await chat.post(b"", "/chat/health", "GET"),
        await chat.post(b"", "/nothing", "GET"),
    ]
    assert [answer.headers["cache-control"] for answer in answers] == ["no-store"] * len(answers)
    stream = await chat("threads.create", input=message("hi"))
    assert stream.headers["cache-control"] == "no-cache, no-transform"


async def test_the_page_is_isolated_from_other_windows_and_may_not_use_devices(chat: Chat) -> None:
    html = await chat.post(b"", "/", "GET")
    assert html.headers["cross-origin-opener-policy"] == "same-origin"
    assert html.headers["cross-origin-resource-policy"] == "same-origin"
    allowed = dict(part.strip().split("=") for part in html.headers["permissions-policy"].split(","))
    assert {"camera", "geolocation", "microphone", "display-capture", "payment", "usb"} <= allowed.keys()
    assert set(allowed.values()) == {"()"}
    script = await chat.post(b"", "/static/main-AB12.js", "GET")
    assert script.headers["cross-origin-resource-policy"] == "same-origin"
    helper = await chat.post(b"", "/chat-client.js", "GET")  # other sites import it
    assert helper.headers["cross-origin-resource-policy"] == "cross-origin"


@pytest.mark.parametrize(
    ("config", "microphone"),
    [
        ({"features": {"dictation": True}}, "(self)"),
        ({"features": {"dictation": True}, "domain_key": "k"}, f'(self "{CHATKIT}")'),
        ({"features": {"dictation": False}, "domain_key": "k"}, "()"),
    ],
)
async def test_the_microphone_is_allowed_only_for_dictation(
    folder: Path, config: dict[str, Any], microphone: str
) -> None:
    html = await chat_with(Page(config=config, folder=folder)).post(b"", "/", "GET")
    assert f"microphone={microphone}" in html.headers["permissions-policy"].split(", ")


async def test_only_our_own_scripts_and_the_pages_own_style_are_allowed(chat: Chat) -> None:
    policy = policy_of(await chat.post(b"", "/", "GET"))
    assert policy["script-src"] == ["'self'"]
    assert policy["style-src"] == [
        "'self'",
        f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'",
    ]
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert not any("unsafe" in source or source == "*" for sources in policy.values() for source in sources)
    assert not any(CHATKIT in sources for sources in policy.values())


async def test_with_a_domain_key_chatkits_scripts_and_styles_are_allowed(with_chatkit: Chat) -> None:
    policy = policy_of(await with_chatkit.post(b"", "/", "GET"))
    assert policy["script-src"] == ["'self'", CHATKIT]
    assert policy["frame-src"] == [CHATKIT]
    assert policy["connect-src"] == ["'self'", CHATKIT, BUCKET]
    assert policy["style-src"] == ["'self'", "'unsafe-inline'"]
    assert not any("unsafe" in source for name, sources in policy.items() for source in sources if name != "style-src")


async def test_images_may_come_from_the_bucket_and_the_allowed_domains(folder: Path) -> None:
    env = SIGNED_IN | {"CHAT_ALLOWED_IMAGE_DOMAINS": "images.example.com, *.example.org"}
    page = replace(page_of(Settings.from_env(env), upload_origin=BUCKET, dictation=False), folder=folder)
    allowed = [BUCKET, "https://images.example.com", "https://*.example.org"]
    assert page.config["pictures"] == allowed
    policy = policy_of(await chat_with(page).post(b"", "/", "GET"))
    assert policy["img-src"] == ["'self'", "data:", "blob:", *allowed]
    assert policy["connect-src"] == ["'self'", BUCKET]


async def test_the_configuration_cannot_close_its_script_element(chat: Chat) -> None:
    page = (await chat.post(b"", "/", "GET")).body.decode()
    config = re.search(r'id="page-config">(.*?)</script>', page)
    assert config is not None
    assert json.loads(config[1])["auth"] == "</script><script>alert(1)"


async def test_hashed_files_are_cached_forever_and_others_revalidated(chat: Chat) -> None:
    cache_control = {
        path: (await chat.post(b"", path, "GET")).headers["cache-control"]
        for path in ("/", "/static/main-AB12.js", "/chat-client.js")
    }
    assert cache_control.pop("/static/main-AB12.js") == "public, max-age=31536000, immutable"
    assert set(cache_control.values()) == {"no-cache"}


async def test_a_page_of_another_release_gets_the_current_file_uncached(chat: Chat) -> None:
    """This happens during a deployment or in a tab opened before it, where a 404 would mean a blank page."""
    answer = await chat.post(b"", "/static/main-OLD9.js", "GET")
    assert (answer.status, answer.body, answer.headers["cache-control"]) == (200, b"1", "no-store")


@pytest.mark.parametrize("path", ["/", "/static/main-AB12.js", "/chat-client.js"])
async def test_conditional_requests_are_answered_in_full(chat: Chat, path: str) -> None:
    first = await chat.post(b"", path, "GET")
    conditional = {
        "if_none_match": "*",
        "if_modified_since": "Fri, 01 Jan 2100 00:00:00 GMT",
    }
    again = await chat.post(b"", path, "GET", **conditional)
    assert (again.status, again.body) == (200, first.body)
    assert not {"etag", "last-modified"} & again.headers.keys()


@pytest.mark.parametrize(
    "path",
    [
        "/secret.py",
        "/static/secret.py",
        "/static/%2e%2e%2fsecret.py",
        "/static/",
        "/static/other-AB12.js",
        "/static/x.js",
    ],
)
async def test_only_built_files_are_served(chat: Chat, path: str) -> None:
    assert (await chat.post(b"", path, "GET")).status == 404


async def test_the_error_for_a_missing_page_says_how_to_build_it(tmp_path: Path) -> None:
    answer = await chat_with(Page(config={}, folder=tmp_path / "none")).post(b"", "/", "GET")
    assert answer.status == 404
    assert "make page" in answer.json["message"]


async def test_uploads_are_allowed_only_to_the_bucket(chat: Chat) -> None:
    assert policy_of(await chat.post(b"", "/", "GET"))["connect-src"] == ["'self'", BUCKET]


def test_the_configuration_contains_the_sign_in_method() -> None:
    guests = {"CHAT_GUEST_SECRET": "arn"}
    assert page_config({})["auth"] == {"kind": "backend"}
    assert page_config(guests)["auth"] == {"kind": "guest"}
    issuer = page_config(guests | {"CHAT_AUTH_CLIENT_ID": "page"})["auth"]
    assert (issuer["kind"], issuer["guests"], issuer["client_id"]) == ("issuer", True, "page")


def test_the_page_may_connect_to_its_issuer_and_to_the_sign_in_url() -> None:
    env = {"CHAT_AUTH_CLIENT_ID": "page", "CHAT_AUTH_SIGN_IN_URL": "https://people.test/oauth2"}
    page = page_of(Settings.from_env(SIGNED_IN | env), upload_origin=BUCKET, dictation=False)
    assert page.origins == (BUCKET, "https://issuer.test", "https://people.test")


async def test_without_origins_no_site_may_show_the_page_in_a_frame(folder: Path) -> None:
    page = replace(page_of(Settings.from_env(SIGNED_IN), upload_origin=None, dictation=False), folder=folder)
    html = await chat_with(page).post(b"", "/", "GET")
    assert policy_of(html)["frame-ancestors"] == ["'none'"]
    assert html.headers["x-frame-options"] == "DENY"


async def test_exactly_the_origins_of_the_stage_may_show_the_page_in_a_frame(folder: Path) -> None:
    env = SIGNED_IN | {"CHAT_CORS_ORIGINS": "https://www.example.com,http://localhost:5173"}
    page = replace(page_of(Settings.from_env(env), upload_origin=None, dictation=False), folder=folder)
    html = await chat_with(page).post(b"", "/", "GET")
    assert policy_of(html)["frame-ancestors"] == ["'self'", "https://www.example.com", "http://localhost:5173"]
    assert "x-frame-options" not in html.headers  # it could not name them, and old browsers would obey it


async def test_embed_js_contains_the_title_the_accent_and_the_origins_of_the_stage(folder: Path) -> None:
    look = {"title": "Shop </script>\u2028", "accent": "#6b21a8"}
    env = SIGNED_IN | {"CHAT_CORS_ORIGINS": "https://www.example.com", "CHAT_PAGE": json.dumps(look)}
    page = replace(page_of(Settings.from_env(env), upload_origin=None, dictation=False), folder=folder)
    script = await chat_with(page).post(b"", "/embed.js", "GET")
    before, stage, after = re.split(r"(?<=\()({\".*})(?=\))", script.body.decode())
    assert (before, after) == ("(stage=>{use({})})(", ")\n")
    texts = {"chat_not_loaded": "The chat did not load.", "open_in_tab": "Open it in a new tab"}
    assert json.loads(stage) == look | texts | {"origins": ["https://www.example.com"]}


@pytest.mark.parametrize("path", ["/", "/static/main-AB12.js", "/chat-client.js", "/embed.js"])
async def test_texts_are_compressed_for_browsers_that_accept_it(chat: Chat, path: str) -> None:
    plain = await chat.post(b"", path, "GET", accept_encoding="identity")
    zipped = await chat.post(b"", path, "GET", accept_encoding="gzip, deflate, br")
    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert all("accept-encoding" in answer.headers["vary"] for answer in (plain, zipped))
    assert plain.body == zipped.body  # the client has unpacked it


async def test_other_sites_may_load_and_cache_embed_js(chat: Chat) -> None:
    script = await chat.post(b"", "/embed.js", "GET")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["cross-origin-resource-policy"] == "cross-origin"
    assert script.headers["cache-control"] == "public, max-age=3600"


def test_the_configuration_contains_no_secrets() -> None:
    env = {"CHAT_GUEST_SECRET": "arn:secret", "CHAT_MODEL_KEY_PARAMETER": "/key", "CHAT_BUCKET": "bucket"}
    assert not any(value in json.dumps(page_config(env)) for value in env.values())
