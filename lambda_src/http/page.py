"""The page and what it is sent with: its files, what it is told, which scripts may run in it. Knows no route.

`make page` builds the files (web/build.mjs). They are read when they are asked for, off the cold path. Names in static/
carry a hash of their content and may be kept for ever; everything else is asked for anew, and is always answered in
full: a 304 has no body, and an answer without one hangs a function URL.

The policy (Content Security Policy, level 3) allows our own origin, the bucket that files are uploaded to, the issuer
that people sign in at, and pictures of the domains that the settings allow. No script inside the page may run, and no
style but the one whose hash is named: whoever gets a word into the page gets no code into it. Only with a domain key
may ChatKit's CDN serve scripts and frames, and may styles stand in the page: its component puts one there, and changes
it when OpenAI likes.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lambda_src.settings import Settings

WEB = Path(__file__).parents[1] / "web"
CHATKIT = "https://cdn.platform.openai.com"  # the component is evergreen: OpenAI offers no other place, and no hash
SECURITY_HEADERS = {  # of every answer
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # a thread's id in a URL is nobody else's business
    "strict-transport-security": "max-age=31536000",  # browsers pass over it where there is no TLS, as on a laptop
}
NEW_EACH_TIME = {"cache-control": "no-cache"}
FOR_EVER = {"cache-control": "public, max-age=31536000, immutable"}  # a year, HTTP's longest
FOR_NOBODY = {"cache-control": "no-store"}
OURS_ALONE = {"cross-origin-resource-policy": "same-origin"}
FOR_EVERYBODY = {"cross-origin-resource-policy": "cross-origin"}
DEVICES = (  # of the visitor's machine, which neither the page nor anything in it may use
    *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "hid", "magnetometer", "midi"),
    *("payment", "publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
TYPES = {".js": "text/javascript; charset=utf-8", ".ts": "text/plain; charset=utf-8"}
SignIn = Literal["open", "guest", "issuer", "backend"]

_CONFIG = b'<script type="application/json" id="page-config">{}</script>'  # as web/src/index.html has it
_STYLE = re.compile(rb"<style[^>]*>(.*?)</style>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Served:
    """One file as it is sent: bytes, media type, headers."""

    body: bytes
    media_type: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The built page in `folder`. `told` is what its scripts find in #page-config; nothing in it may be secret."""

    told: Mapping[str, Any]
    folder: Path = WEB
    origins: tuple[str, ...] = ()  # beside our own, whom the page may talk to
    pictures: tuple[str, ...] = ()  # and show pictures of

    def html(self) -> Served | None:
        """The page; None where it was never built."""
        try:
            built = (self.folder / "index.html").read_bytes()
        except FileNotFoundError:
            return None
        told = json.dumps(self.told, separators=(",", ":")).replace("<", "\\u003c").encode()  # it ends no element
        html = built.replace(_CONFIG, _CONFIG.replace(b"{}", told))
        headers = (
            NEW_EACH_TIME
            | OURS_ALONE
            | {
                "content-security-policy": self.policy(html),
                "cross-origin-opener-policy": "same-origin",  # a page that opened ours has no hold on its window
                "permissions-policy": self.permissions(),
            }
        )
        return Served(html, "text/html; charset=utf-8", headers)

    def static(self, name: str) -> Served | None:
        """A file that the page names by the hash of its content; None for what there is not.

        While a deployment takes over, the page of one version asks the other for its files, and a tab that is open for
        days asks for those of long ago: they get the file that has the name now, and keep it for nobody.
        """
        folder = self.folder / "static"
        if (found := self._file(folder, name, FOR_EVER | OURS_ALONE)) is not None or not folder.is_dir():
            return found
        now = (path.name for path in folder.iterdir() if _unhashed(path.name) == _unhashed(name) is not None)
        return next((self._file(folder, one, FOR_NOBODY | OURS_ALONE) for one in now), None)

    def helper(self, name: str) -> Served | None:
        """chat-client.js or its types, whose names stay: other sites import them."""
        return self._file(self.folder, name, NEW_EACH_TIME | FOR_EVERYBODY)

    def _file(self, folder: Path, name: str, headers: Mapping[str, str]) -> Served | None:
        if not folder.is_dir():
            return None
        found = next((path for path in folder.iterdir() if path.name == name and path.suffix in TYPES), None)
        return None if found is None else Served(found.read_bytes(), TYPES[found.suffix], headers)

    def permissions(self) -> str:
        """Its Permissions Policy: no device, but for the microphone where people may dictate."""
        dictation = self.told.get("features", {}).get("dictation", False)
        chatkit = f' "{CHATKIT}"' if self.told.get("domain_key") else ""
        microphone = f"(self{chatkit})" if dictation else "()"
        return ", ".join([*(f"{device}=()" for device in DEVICES), f"microphone={microphone}"])

    def policy(self, html: bytes) -> str:
        """Its Content Security Policy."""
        digests = [hashlib.sha256(found).digest() for found in _STYLE.findall(html)]
        chatkit = [CHATKIT] if self.told.get("domain_key") else []
        styles = ["'unsafe-inline'"] if chatkit else [f"'sha256-{base64.b64encode(one).decode()}'" for one in digests]
        policy = {
            "default-src": ["'none'"],
            "script-src": ["'self'", *chatkit],
            "style-src": ["'self'", *styles],
            "connect-src": ["'self'", *chatkit, *self.origins],
            "img-src": ["'self'", "data:", "blob:", *self.pictures],
            "frame-src": chatkit or ["'none'"],
            "base-uri": ["'none'"],
            "form-action": ["'self'"],
            "frame-ancestors": ["'none'"],  # nobody lays another page over ours
        }
        return "; ".join(f"{name} {' '.join(sources)}" for name, sources in policy.items())


def _unhashed(name: str) -> str | None:
    """`main` of main-YPGI2BBK.js; None for what is not named so."""
    stem, dash, _ = name.rpartition("-")
    return stem if dash and name.endswith(".js") else None


def page_of(settings: Settings, *, upload_origin: str | None, dictation: bool, is_open: bool = False) -> Page:
    """The page of a stage. `is_open`: nobody need sign in, as on a laptop; `upload_origin`: the bucket's, if any."""
    bucket = () if upload_origin is None else (upload_origin,)
    pictures = (*bucket, *(f"https://{domain}" for domain in settings.allowed_image_domains))
    told: dict[str, Any] = {
        "auth": {"kind": "open"} if is_open else sign_in(settings),
        "token_header": settings.token_header,
        "domain_key": settings.domain_key,
        "assistants": [],
        "pictures": list(pictures),
        "features": {
            "attachments": settings.bucket is not None,
            "dictation": dictation,
            "max_image_bytes": settings.max_image_bytes,
            "max_file_bytes": settings.max_file_bytes,
        },
    }
    issuers = () if is_open or settings.auth_client_id is None else issuer_origins(settings)
    return Page(told=told, origins=(*bucket, *issuers), pictures=pictures)


def sign_in(settings: Settings) -> dict[str, Any]:
    """How the page gets a token: at the issuer, as a guest (or first the one, then the other), or from its host."""
    guests = settings.guest_secret is not None
    if settings.auth_client_id is None or settings.auth_issuer is None:
        kind: SignIn = "guest" if guests else "backend"
        return {"kind": kind}
    kind = "issuer"
    return {
        "kind": kind,
        "guests": guests,
        "issuer": settings.auth_issuer,
        "client_id": settings.auth_client_id,
        "audience": settings.auth_audience,
        "resource": settings.auth_resource,
        "scope": settings.auth_scope,
    }


def issuer_origins(settings: Settings) -> tuple[str, ...]:
    """Where the page discovers the issuer, and where it gets tokens, if that is another place."""
    named = (settings.auth_issuer, settings.auth_sign_in_url)
    return tuple(dict.fromkeys("/".join(url.split("/")[:3]) for url in named if url is not None))
