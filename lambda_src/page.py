"""The page and what it is sent with: which scripts may run in it, and whom it may talk to. Pure; knows no route.

The policy (Content Security Policy, level 3) allows our own origin, ChatKit's CDN, which its web component comes from,
and the bucket that files are uploaded to. Scripts and styles inside the page are allowed by their hashes, so whoever
gets a word into the page gets no code into it.
"""

import base64
import hashlib
import re

CHATKIT = "https://cdn.platform.openai.com"  # the component is evergreen: OpenAI offers no other place, and no hash
SECURITY_HEADERS = {  # of every answer
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # a thread's id in a URL is nobody else's business
    "strict-transport-security": "max-age=31536000",  # browsers pass over it where there is no TLS, as on a laptop
}

_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
_STYLE = re.compile(rb"<style[^>]*>(.*?)</style>", re.DOTALL)


def page_headers(html: bytes, *, upload_origin: str | None = None) -> dict[str, str]:
    """What the page is sent with. `upload_origin` is the bucket's, where there is one."""
    files = [] if upload_origin is None else [upload_origin]
    policy = {
        "default-src": ["'none'"],
        "script-src": ["'self'", CHATKIT, *_hashes(_SCRIPT, html)],
        "style-src": ["'self'", *_hashes(_STYLE, html)],
        "connect-src": ["'self'", CHATKIT, *files],
        "img-src": ["'self'", "data:", "blob:", *files],
        "frame-src": [CHATKIT],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],  # nobody lays another page over ours
    }
    told = "; ".join(f"{name} {' '.join(sources)}" for name, sources in policy.items())
    return {"content-security-policy": told, "cache-control": "no-cache"}


def _hashes(inside: re.Pattern[bytes], html: bytes) -> list[str]:
    digests = [hashlib.sha256(found).digest() for found in inside.findall(html)]
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
