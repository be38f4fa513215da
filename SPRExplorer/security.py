"""Who may talk to the server: pure decisions about single requests.

A page of another site can make a browser send requests to a server on the same computer. So requests must be
addressed to the server by a name that it answers to (which also ends attacks that point a foreign name at this
computer), and must not come from a page of another origin. Where the server listens to more than this computer, each
request needs the token, which the address that is opened first carries and a cookie repeats.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")
COOKIE = "spr-explorer"

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Vue compiles the page in the browser, for which it needs eval; nothing is loaded from elsewhere.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' ws: wss: data: blob:; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'self'; "
    "form-action 'self'; object-src 'none'",
}
"""Sent with every answer."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the server insists on.

    Attributes:
        local: Whether it listens to this computer only, and so answers only to the names that this computer has for
            itself.
        token: What each request has to show; empty for nothing.
    """

    local: bool
    token: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether a request is let in: a status of HTTP (200 if so) and why not; whether to hand out the cookie."""

    status: int = 200
    why: str = ""
    welcome: bool = False


def is_local(host: str) -> bool:
    """Whether an address to listen on can be reached from this computer only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def judge(
    policy: Policy, method: str, headers: Mapping[str, str], query: Mapping[str, str], cookies: Mapping[str, str]
) -> Verdict:
    """Decide about a request.

    Args:
        policy: What the server insists on.
        method: Method of HTTP.
        headers: Headers of the request, by names in any case.
        query: What follows the question mark of the address.
        cookies: Cookies of the request.
    """
    headers = {name.lower(): value for name, value in headers.items()}
    host = headers.get("host", "")
    if policy.local and _name_of(host) not in OWN_NAMES:
        return Verdict(403, "This server answers to localhost only.")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return Verdict(403, "Requests from pages of other sites are refused.")
    navigates = method in ("GET", "HEAD") and headers.get("sec-fetch-mode", "navigate") == "navigate"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not navigates:
        return Verdict(403, "Requests from pages of other sites are refused.")
    if not policy.token or _same(cookies.get(COOKIE, ""), policy.token):
        return Verdict()
    if _same(query.get("token", ""), policy.token):
        return Verdict(welcome=True)
    return Verdict(403, "The token is missing. Open the whole address that “spr explore” has printed.")


def _name_of(host: str) -> str:
    """The host of `name:port`, `[::1]:port` or either without a port; empty if it is none of these."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return ""
    name = parts.hostname or ""
    return "" if "@" in host else f"[{name}]" if ":" in name else name


def _same(one: str, other: str) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
