"""The built web page: its files, its configuration, its security headers (CSP, Permissions-Policy). Knows no route.

`make page` builds the files (web/build.mjs). They are read on request, off the cold path. Names in static/ contain a
hash of the content, so browsers may cache those files forever. Everything else is fetched anew and never answered with
a 304: that has no body, and a response without a body hangs a function URL. Texts are compressed as they are sent,
because a function URL compresses nothing.

The Content Security Policy (level 3) allows our own origin, the upload bucket, the issuer that people sign in at, and
images from the domains in the settings. It allows no inline script, and no inline style except the one whose hash it
names, so injected text never runs as code. With a domain key it also allows scripts and frames from ChatKit's CDN, and
any inline style: ChatKit's component inserts one, which OpenAI may change at any time.

Other sites may show the page in a frame only if the stage names their origins; embed.js does that for them.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

from lambda_src.json_settings import PageSettings
from lambda_src.languages import Language, Languages, Text
from lambda_src.settings import MAX_IMAGE_BYTES, Settings

WEB = Path(__file__).parents[1] / "web"
CHATKIT = "https://cdn.platform.openai.com"  # always the newest version: OpenAI publishes no versioned URL and no hash
SECURITY_HEADERS = {  # in every response
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # URLs contain thread ids
    "strict-transport-security": "max-age=31536000",  # browsers ignore it without TLS, as on a laptop
}
NO_CACHE = {"cache-control": "no-cache"}
CACHE_AN_HOUR = {"cache-control": "public, max-age=3600"}
CACHE_FOREVER = {"cache-control": "public, max-age=31536000, immutable"}  # a year, HTTP's longest
NO_STORE = {"cache-control": "no-store"}
SAME_ORIGIN = {"cross-origin-resource-policy": "same-origin"}
CROSS_ORIGIN = {"cross-origin-resource-policy": "cross-origin"}
DEVICES = (  # features that neither the page nor any frame in it may use
    *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "hid", "magnetometer", "midi"),
    *("payment", "publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
GZIP_LEVEL = 6  # zlib's default: the page's script shrinks to a third in 5 ms
AGENT = Path(__file__).parents[1] / "agent"  # the stage's logo is there
PICTURE_TYPES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".svg": "image/svg+xml",
}  # fmt: skip
LOGO_HEADERS = {  # an SVG that is opened by itself could run scripts without the sandbox
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    **CACHE_AN_HOUR,
}
TYPES = {".js": "text/javascript; charset=utf-8", ".ts": "text/plain; charset=utf-8"}

_CONFIG = b'<script type="application/json" id="page-config">{}</script>'  # exactly as in web/src/index.html
_HTML = b'<html lang="en">'  # as above
_TEXTS = ("title", "loading", "needs_javascript")  # that the HTML has in English
_OPERATORS = "operator_"  # begins the keys of texts that only the operators' page shows
_HOSTED = {"open": "open", "guest": "backend", "backend": "backend"}  # how operators sign in where users do so
_EMBED_TEXTS = ("title", "chat_not_loaded", "open_in_tab")  # of embed.js
_STAGE = b"({})"  # the last call in embed.js: web/build.mjs
_STYLE = re.compile(rb"<style[^>]*>(.*?)</style>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Served:
    """A file with its media type and response headers."""

    body: bytes
    media_type: str
    headers: Mapping[str, str]

    def encoded(self, accept_encoding: str) -> "Served":
        """The file as a client gets it that sent this Accept-Encoding header: gzipped if it is a text."""
        if self.media_type.startswith("image/"):
            return self
        headers = {**self.headers, "vary": ", ".join([*filter(None, [self.headers.get("vary")]), "accept-encoding"])}
        if "gzip" not in accept_encoding:
            return replace(self, headers=headers)
        body = gzip.compress(self.body, GZIP_LEVEL, mtime=0)
        return replace(self, body=body, headers={**headers, "content-encoding": "gzip"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The built page in `folder`. Its scripts read `config` from #page-config, so nothing in it may be secret."""

    config: Mapping[str, Any]
    folder: Path = WEB
    origins: tuple[str, ...] = ()  # that the page may connect to, besides its own
    pictures: tuple[str, ...] = ()  # origins of images that it may show
    logo_file: Path | None = None
    languages: Languages = field(default_factory=Languages)
    is_operators: bool = False

    def for_operators(self) -> "Page":
        """The page at /operator: without guests, without OpenAI's component, and in no frame."""
        auth = self.config["auth"]
        sign_in = auth | {"guests": False} if auth["kind"] == "issuer" else auth | {"kind": _HOSTED[auth["kind"]]}
        config = {**self.config, "auth": sign_in, "domain_key": None, "embedded_by": None}
        return replace(self, config=config, is_operators=True)

    def html(self, language: Language) -> Served | None:
        """The page in this language; None if it was never built."""
        try:
            built = (self.folder / ("operator.html" if self.is_operators else "index.html")).read_bytes()
        except FileNotFoundError:
            return None
        texts = self._texts(language)
        html = built.replace(_HTML, f'<html lang="{language.code}" dir="{language.direction}">'.encode())
        for key in _TEXTS:
            english = self.languages.english()[key]
            html = html.replace(f">{english}<".encode(), f">{escape(str(texts[key]))}<".encode())
        of_language = {"language": language.code, "texts": texts, "languages": self.languages.names()}
        config = json.dumps({**self.config, **of_language}, separators=(",", ":"), ensure_ascii=False)
        config = config.replace("<", "\\u003c")  # so that it ends no element
        html = html.replace(_CONFIG, _CONFIG.replace(b"{}", config.encode("utf-8", "replace")))
        headers = (
            NO_CACHE
            | SAME_ORIGIN
            | ({"x-frame-options": "DENY"} if self.embedded_by is None else {})  # it cannot name other sites
            | {
                "content-security-policy": self.policy(html),
                "vary": "accept-language",
                "cross-origin-opener-policy": "same-origin",  # a page that opens ours cannot access its window
                "permissions-policy": self.permissions(),
            }
        )
        return Served(html, "text/html; charset=utf-8", headers)

    def static(self, name: str) -> Served | None:
        """A file from static/, whose name contains a hash of its content; None if there is no such file.

        During a deployment a page of one version may request files from the other, and a tab that has been open for
        days requests old ones. They get the current file of that name, marked as not to be cached.
        """
        folder = self.folder / "static"
        if (served := self._file(folder, name, CACHE_FOREVER | SAME_ORIGIN)) is not None or not folder.is_dir():
            return served
        current = (path.name for path in folder.iterdir() if _unhashed(path.name) == _unhashed(name) is not None)
        return next((self._file(folder, other, NO_STORE | SAME_ORIGIN) for other in current), None)

    @property
    def embedded_by(self) -> tuple[str, ...] | None:
        """Origins of other sites that may show the page in a frame; None: no site may, not even its own."""
        origins = self.config.get("embedded_by")
        return None if origins is None else tuple(origins)

    def _texts(self, language: Language) -> dict[str, Text]:
        """The page's texts in the language. The title is the stage's own, if it has one."""
        texts = self.languages.page_texts(language)
        if not self.is_operators:
            texts = {key: text for key, text in texts.items() if not key.startswith(_OPERATORS)}
        title = self.config.get("page", {}).get("title")
        return texts | ({"title": title} if title else {})

    def embed(self, language: Language) -> Served | None:
        """embed.js, which other sites load, with the stage's title, accent and origins; None if it was never built."""
        if (built := self._file(self.folder, "embed.js", CACHE_AN_HOUR | CROSS_ORIGIN)) is None:
            return None
        brand, texts = self.config.get("page", {}), self._texts(language)
        stage = {
            **{key: texts[key] for key in _EMBED_TEXTS},
            "accent": brand.get("accent"),
            "origins": self.embedded_by or (),
        }
        before, _, after = built.body.rpartition(_STAGE)
        body = b"".join([before, b"(", json.dumps(stage).encode(), b")", after])
        return replace(built, body=body, headers={**built.headers, "vary": "accept-language"})

    def texts(self, code: str) -> Served | None:
        """The texts of another language than the page's, which the user chose; None if it is not offered."""
        if code not in self.languages.codes:
            return None
        language = self.languages.get(code)
        table = {"direction": language.direction, "texts": replace(self, is_operators=True)._texts(language)}
        return Served(json.dumps(table, ensure_ascii=False).encode(), "application/json", NO_CACHE | SAME_ORIGIN)

    def helper(self, name: str) -> Served | None:
        """chat-client.js or its types, which other sites import: their names never change."""
        return self._file(self.folder, name, NO_CACHE | CROSS_ORIGIN)

    def logo(self) -> Served | None:
        """The stage's own logo, None if it has none."""
        if self.logo_file is None or not self.logo_file.is_file():
            return None
        return Served(
            self.logo_file.read_bytes(), PICTURE_TYPES[self.logo_file.suffix.lower()], LOGO_HEADERS | SAME_ORIGIN
        )

    def _file(self, folder: Path, name: str, headers: Mapping[str, str]) -> Served | None:
        if not folder.is_dir():
            return None
        file = next((path for path in folder.iterdir() if path.name == name and path.suffix in TYPES), None)
        return None if file is None else Served(file.read_bytes(), TYPES[file.suffix], headers)

    def permissions(self) -> str:
        """The Permissions-Policy header: no devices, except the microphone if dictation is on."""
        dictation = self.config.get("features", {}).get("dictation", False)
        chatkit = f' "{CHATKIT}"' if self.config.get("domain_key") else ""
        microphone = f"(self{chatkit})" if dictation else "()"
        return ", ".join([*(f"{device}=()" for device in DEVICES), f"microphone={microphone}"])

    def policy(self, html: bytes) -> str:
        """The Content-Security-Policy header for this HTML."""
        digests = [hashlib.sha256(style).digest() for style in _STYLE.findall(html)]
        chatkit = [CHATKIT] if self.config.get("domain_key") else []
        styles = (
            ["'unsafe-inline'"] if chatkit else [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
        )
        policy = {
            "default-src": ["'none'"],
            "script-src": ["'self'", *chatkit],
            "style-src": ["'self'", *styles],
            "connect-src": ["'self'", *chatkit, *self.origins],
            "img-src": ["'self'", "data:", "blob:", *self.pictures],
            "frame-src": chatkit or ["'none'"],
            "base-uri": ["'none'"],
            "form-action": ["'self'"],
            "frame-ancestors": ["'none'"] if self.embedded_by is None else ["'self'", *self.embedded_by],
        }
        return "; ".join(f"{name} {' '.join(sources)}" for name, sources in policy.items())


def _unhashed(name: str) -> str | None:
    """`main` of main-YPGI2BBK.js; None for other names."""
    stem, dash, _ = name.rpartition("-")
    return stem if dash and name.endswith(".js") else None


def page_of(
    settings: Settings,
    *,
    upload_origin: str | None,
    dictation: bool,
    is_open: bool = False,
    embedded_by: Sequence[str] | None = None,
    languages: Languages | None = None,
) -> Page:
    """The page of a stage. `is_open`: nobody has to sign in, as in `make dev`; `upload_origin`: the bucket's.

    `embedded_by` replaces the stage's origins as the sites that may show the page in a frame. `languages` are all that
    are shipped, by default.
    """
    bucket = () if upload_origin is None else (upload_origin,)
    pictures = (*bucket, *(f"https://{domain}" for domain in settings.allowed_image_domains))
    config: dict[str, Any] = {
        "auth": {"kind": "open"} if is_open else sign_in(settings),
        "token_header": settings.token_header,
        "embedded_by": settings.cors_origins if embedded_by is None else embedded_by,
        "domain_key": settings.domain_key,
        "page": _brand(settings.page),
        "pictures": list(pictures),
        "features": {
            "attachments": settings.bucket is not None,
            "dictation": dictation,
            "people": [] if settings.operators is None else list(settings.operators.assistants),
            "models": _choices(settings.models, settings.page),
            "tools": _choices(settings.tool_choices, settings.page, in_words),
            "max_image_bytes": min(MAX_IMAGE_BYTES, settings.max_file_bytes),
            "max_file_bytes": settings.max_file_bytes,
        },
    }
    issuers = () if is_open or settings.auth_client_id is None else issuer_origins(settings)
    logo = None if settings.page.logo is None else AGENT / settings.page.logo
    return Page(
        config=config,
        origins=(*bucket, *issuers),
        pictures=pictures,
        logo_file=logo,
        languages=languages or Languages(),
    )


def _brand(page: PageSettings) -> dict[str, Any]:
    """What the page's script needs of its looks and words."""
    brand = {**asdict(page), "logo": page.logo is not None}
    del brand["labels"], brand["languages"]  # the offered ones are added with their names
    brand["assistants"] = [
        {
            **assistant,
            "models": None if (models := assistant.get("models")) is None else _choices(models, page),
            "tools": None if (tools := assistant.get("tool_choices")) is None else _choices(tools, page, in_words),
        }
        for assistant in page.assistants
    ]
    return brand


def _choices(names: Sequence[str], page: PageSettings, label_of: Callable[[str], str] = str) -> list[dict[str, str]]:
    """Models or tools that users may choose, each with its label; `label_of` makes it if the stage has none."""
    labels = {each["name"]: each["label"] for each in page.labels}
    return [{"id": name, "label": labels.get(name) or label_of(name)} for name in names]


def in_words(tool: str) -> str:
    """A tool's name as users read it: `search_orders` is "Search orders"."""
    words = re.sub(r"[_-]+", " ", tool).strip()
    return words[:1].upper() + words[1:]


def sign_in(settings: Settings) -> dict[str, Any]:
    """How the page gets a token: from the issuer, as a guest (or first as a guest), or from its host."""
    guests = settings.guest_secret is not None
    if settings.auth_client_id is None or settings.auth_issuer is None:
        return {"kind": "guest" if guests else "backend"}
    return {
        "kind": "issuer",
        "guests": guests,
        "issuer": settings.auth_issuer,
        "client_id": settings.auth_client_id,
        "audience": settings.auth_audience,
        "resource": settings.auth_resource,
        "scope": settings.auth_scope,
    }


def issuer_origins(settings: Settings) -> tuple[str, ...]:
    """The origins of the issuer and, if it differs, of its token and revocation endpoints."""
    urls = (settings.auth_issuer, settings.auth_sign_in_url)
    return tuple(dict.fromkeys("/".join(url.split("/")[:3]) for url in urls if url is not None))
