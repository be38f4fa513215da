"""Access control: decisions about single requests."""

from __future__ import annotations

import pytest

from SPRExplorer.security import COOKIE, HEADERS, AccessPolicy, decide, is_local

LOCAL = AccessPolicy(local=True)
REMOTE = AccessPolicy(local=False, token="right")


def status(policy=LOCAL, method="GET", host="127.0.0.1:8765", query=None, cookies=None, **headers):
    headers = {"Host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    return decide(policy, method, headers, query or {}, cookies or {}).status


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "localhost", "[::1]:8765", "LOCALHOST:1"])
def test_host_names_of_this_computer_are_allowed(host):
    assert status(host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:8765", "", "127.0.0.1.evil.example", "localhost:x", "a@localhost", "127.0.0.1 evil", "[::2]:1"],
)
def test_other_host_names_are_refused(host):
    assert status(host=host) == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost:8765", "http://127.0.0.1", ""]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_origins_are_refused(origin, method):
    assert status(method=method, Origin=origin) == 403


def test_the_own_origin_is_allowed():
    own = {"Origin": "http://127.0.0.1:8765", "Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}
    assert status(method="POST", **own) == 200


def test_cross_site_requests_may_only_navigate():
    foreign = {"Sec_Fetch_Site": "cross-site"}
    assert status(Sec_Fetch_Mode="navigate", **foreign) == 200
    assert status(Sec_Fetch_Mode="no-cors", **foreign) == 403  # an image or script of ours in another page
    assert status(method="POST", Sec_Fetch_Mode="navigate", **foreign) == 403  # a form of another page
    assert status(Sec_Fetch_Mode="websocket", **foreign) == 403


@pytest.mark.parametrize(
    ("query", "cookies", "expected"),
    [
        ({}, {}, 403),
        ({"token": "wrong"}, {}, 403),
        ({"token": ""}, {}, 403),
        ({"token": "rightx"}, {COOKIE: "wrong"}, 403),
        ({"token": "ünïcode"}, {}, 403),
        ({"token": "right"}, {}, 200),
        ({}, {COOKIE: "right"}, 200),
    ],
)
def test_remote_requests_need_the_token(query, cookies, expected):
    assert status(REMOTE, host="some.host:80", query=query, cookies=cookies) == expected


def test_the_cookie_is_set_for_the_token_only():
    assert decide(REMOTE, "GET", {"Host": "a"}, {"token": "right"}, {}).set_cookie
    assert not decide(REMOTE, "GET", {"Host": "a"}, {}, {COOKIE: "right"}).set_cookie
    assert not decide(LOCAL, "GET", {"Host": "localhost"}, {"token": "right"}, {}).set_cookie


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]"])
def test_local_addresses(host):
    assert is_local(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "", "example.org"])
def test_remote_addresses(host):
    assert not is_local(host)


def test_the_content_security_policy():
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert policy["frame-ancestors"] == policy["object-src"] == "'none'"
    assert not any("http" in sources or "*" in sources for sources in policy.values())
