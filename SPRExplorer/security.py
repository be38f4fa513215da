"""Access control: pure decisions about single HTTP requests.

A page of another site can make a browser send requests to a server on the same computer. Requests must therefore carry
a `Host` of this computer, which also prevents DNS rebinding, and must not come from another origin. Where the server
listens to other computers, each request needs the token: in the URL at first, in a cookie afterwards.
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
"""Headers of every response."""


@dataclass(frozen=True, kw_only=True)
class AccessPolicy:
    """Requirements on requests.

    Attributes:
        local: Whether the server listens to this computer only; other `Host` names are then refused.
        token: Token that each request must carry; empty for none.
    """

    local: bool
    token: str = ""


@dataclass(frozen=True)
class AccessDecision:
    """HTTP status (200 if allowed), the reason for a refusal, and whether to set the cookie."""

    status: int = 200
    reason: str = ""
    set_cookie: bool = False


def is_local(host: str) -> bool:
    """Whether only this computer can reach an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def decide(
    policy: AccessPolicy, method: str, headers: Mapping[str, str], query: Mapping[str, str], cookies: Mapping[str, str]
) -> AccessDecision:
    """Decide whether a request is allowed.

    Args:
        policy: Requirements.
        method: HTTP method.
        headers: Headers of the request; names in any case.
        query: Query parameters of the URL.
        cookies: Cookies of the request.
    """
    headers = {name.lower(): value for name, value in headers.items()}
    host = headers.get("host", "")
    if policy.local and _host_name(host) not in OWN_NAMES:
        return AccessDecision(403, "This server answers to localhost only.")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return AccessDecision(403, "Requests from pages of other sites are refused.")
    navigates = method in ("GET", "HEAD") and headers.get("sec-fetch-mode", "navigate") == "navigate"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not navigates:
        return AccessDecision(403, "Requests from pages of other sites are refused.")
    if not policy.token or _equal(cookies.get(COOKIE, ""), policy.token):
        return AccessDecision()
    if _equal(query.get("token", ""), policy.token):
        return AccessDecision(set_cookie=True)
    return AccessDecision(403, "The token is missing. Open the complete address that “spr explore” printed.")


def _host_name(host: str) -> str:
    """The host of `name:port`, `[::1]:port` or either without a port; empty if invalid."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError if it is not a number
    except ValueError:
        return ""
    name = parts.hostname or ""
    return "" if "@" in host else f"[{name}]" if ":" in name else name


def _equal(one: str, other: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())
