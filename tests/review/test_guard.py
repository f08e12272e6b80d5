"""The door: nobody but the person who started the review, and only from its own pages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from planner.review.guard import LARGEST_BODY, Guard

HOST = "127.0.0.1:4711"


class Inside:
    """An application that counts who got in."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope["type"])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"in"})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.accept"})


def ask(
    guard: Guard,
    path: str = "/",
    at: str | None = None,
    query: str = "",
    method: str = "GET",
    kind: str = "http",
    **headers: str,
) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    given = {"host": HOST, **{k.replace("_", "-"): v for k, v in headers.items()}}
    scope = {
        "type": kind,
        "path": (guard.root if at is None else at) + path,
        "method": method,
        "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    return sent


def status(sent: list[dict[str, Any]]) -> int:
    return int(sent[0]["status"])


@pytest.fixture
def guard() -> Guard:
    return Guard(Inside(), (HOST, "localhost:4711"))


@pytest.fixture
def cookie(guard: Guard) -> str:
    sent = ask(guard, "/open", query=f"token={guard.token}")
    assert status(sent) == 303
    found = dict(sent[0]["headers"])
    assert found[b"location"] == f"{guard.root}/".encode()
    words = found[b"set-cookie"].decode()
    assert "HttpOnly" in words
    assert "SameSite=Lax" in words
    assert f"Path={guard.root}/" in words  # no other port of this machine is given it
    return words.split(";")[0]


def test_the_token_works_once(guard: Guard) -> None:
    token = guard.token
    assert status(ask(guard, "/open", query="token=wrong")) == 403
    assert status(ask(guard, "/open")) == 403
    assert status(ask(guard, "/open", query=f"token={token}")) == 303
    assert status(ask(guard, "/open", query=f"token={token}")) == 403
    assert status(ask(guard, "/open", query="token=None")) == 403
    assert guard._app.seen == []


def test_with_the_cookie_the_page_opens_and_says_what_it_may_do(guard: Guard, cookie: str) -> None:
    sent = ask(guard, cookie=cookie)
    assert status(sent) == 200
    policy = dict(sent[0]["headers"])[b"content-security-policy"].decode()
    assert "frame-ancestors 'none'" in policy
    assert "http:" not in policy


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": "planner-review-4711=guess"},
        {"cookie": "planner-review-4711="},
        {"cookie": '"; a=\x01'},
    ],
)
def test_without_it_nothing_does(guard: Guard, cookie: str, headers: dict[str, str]) -> None:
    assert cookie
    assert status(ask(guard, **headers)) == 403
    assert ask(guard, "/_nicegui_ws/socket.io", kind="websocket", **headers)[0]["type"] == (
        "websocket.close"
    )
    assert guard._app.seen == []


def test_a_foreign_name_of_this_machine_is_no_host(guard: Guard, cookie: str) -> None:
    assert status(ask(guard, host="evil.example:4711", cookie=cookie)) == 421
    assert status(ask(guard, "/open", query=f"token={guard.token}", host="evil.example")) == 421


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9999", "http://evil.example", "null"])
def test_another_page_cannot_use_the_cookie(guard: Guard, cookie: str, origin: str) -> None:
    for kind in ("http", "websocket"):
        sent = ask(guard, "/x", method="POST", kind=kind, cookie=cookie, origin=origin)
        assert sent[0].get("status") == 403 or sent[0]["type"] == "websocket.close"
    assert status(ask(guard, "/space", cookie=cookie, sec_fetch_site="same-site")) == 403
    assert guard._app.seen == []


def test_the_socket_needs_an_origin_and_gets_in_with_its_own(guard: Guard, cookie: str) -> None:
    assert ask(guard, kind="websocket", cookie=cookie)[0]["type"] == "websocket.close"
    own = ask(guard, kind="websocket", cookie=cookie, origin=f"http://{HOST}")
    assert own[0]["type"] == "websocket.accept"


def test_cookies_of_other_programs_are_in_no_way(guard: Guard, cookie: str) -> None:
    for odd in ('prefs={"a":1}', "x=a b", "planner-review-9=1", "=", ";;"):
        assert status(ask(guard, cookie=f"{odd}; {cookie}")) == 200


def test_beside_its_own_path_there_is_nothing(guard: Guard, cookie: str) -> None:
    assert status(ask(guard, at="", cookie=cookie)) == 403
    assert status(ask(guard, "/open", at="", query=f"token={guard.token}")) == 403
    assert guard._app.seen == []


def test_too_much_is_refused(guard: Guard, cookie: str) -> None:
    much = str(LARGEST_BODY + 1)
    for length in (much, "-1", "many"):
        sent = ask(
            guard, method="POST", cookie=cookie, origin=f"http://{HOST}", content_length=length
        )
        assert status(sent) == 413
    assert guard._app.seen == []
