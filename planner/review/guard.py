"""Who gets in: the person who started the review, from the page that it serves, and nobody else.

A wrapper around the whole web application, for pages and for its socket alike. The token that opens
the first page works once; what it buys is a cookie that no script can read. A request must name
this server as its host (a foreign name that resolves to loopback does not), and whatever changes
something, the socket included, must come from this server's own pages.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATH = "/open"
LARGEST_BODY = 1 << 20
SAFE_METHODS = frozenset({"GET", "HEAD"})
OWN_SITES = frozenset({"same-origin", "none"})
# The page's frame compiles its templates in the browser: it needs eval and inline code, from here.
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' ws://{host}; "
    "frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
)
REFUSED = (
    "This review is open to the person who started it. Use the address that `planner review` "
    "printed; it works once. To open it again, start the review again."
)


class Guard:
    """Lets requests through to an application; hosts: names and port this server goes by."""

    def __init__(self, app: App, hosts: tuple[str, ...]) -> None:
        self._app, self._hosts = app, hosts
        # Browsers give a cookie to every port of a host, but only below its path: below a path
        # that nobody can guess, another user's server on this machine is never given it.
        self.root = f"/{secrets.token_urlsafe(16)}"
        self.token: str | None = secrets.token_urlsafe(32)
        self._secret = secrets.token_urlsafe(32)
        self._cookie = f"planner-review-{hosts[0].rpartition(':')[2]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse or pass on one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        if headers.get("host") not in self._hosts:
            await _refuse(scope, receive, send, 421, "This is not the server that you asked for.")
        elif scope["type"] == "http" and scope["path"] == self.root + OPEN_PATH:
            await self._open(scope, send)
        elif (
            not scope["path"].startswith(self.root + "/")
            or not self._known(headers)
            or not self._own(scope, headers)
        ):
            await _refuse(scope, receive, send, 403, REFUSED)
        elif not _small(headers.get("content-length", "0")):
            await _refuse(scope, receive, send, 413, "Too much at once.")
        else:
            inner = {**scope, "root_path": self.root}
            await self._app(inner, _bounded(receive), self._sealed(send, headers["host"]))

    async def _open(self, scope: Scope, send: Send) -> None:
        """Take a token and give the cookie for it, once."""
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if self.token is None or not hmac.compare_digest(given.encode(), self.token.encode()):
            await _answer(send, 403, REFUSED)
            return
        self.token = None
        cookie = f"{self._cookie}={self._secret}; HttpOnly; SameSite=Lax; Path={self.root}/"
        extra = [(b"set-cookie", cookie.encode()), (b"location", f"{self.root}/".encode())]
        await _answer(send, 303, "", extra)

    def _known(self, headers: dict[str, str]) -> bool:
        # Cookies know no ports: other programs' may stand beside ours, well formed or not.
        for part in headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self._cookie and hmac.compare_digest(value.encode(), self._secret.encode()):
                return True
        return False

    def _own(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Tell whether a request comes from one of this server's own pages, or from the person."""
        if (
            headers.get("sec-fetch-site", "none") not in OWN_SITES
            and scope["path"] != f"{self.root}/"
        ):
            return False
        origin = headers.get("origin")
        changing = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if origin is None:
            return not changing
        return origin in {f"http://{host}" for host in self._hosts}

    def _sealed(self, send: Send, host: str) -> Send:
        policy = POLICY.format(host=host).encode()

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = dict(message)
                message["headers"] = [
                    *message.get("headers", []),
                    (b"content-security-policy", policy),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        return sealed


def _small(length: str) -> bool:
    return length.isascii() and length.isdigit() and int(length) <= LARGEST_BODY


def _bounded(receive: Receive) -> Receive:
    """Cut a body off that never told its length and grows too long."""
    total = 0

    async def bounded() -> Message:
        nonlocal total
        message = await receive()
        if message["type"] == "http.request":
            total += len(message.get("body", b""))
            if total > LARGEST_BODY:
                return {"type": "http.disconnect"}
        return message

    return bounded


def _headers(scope: Scope) -> dict[str, str]:
    """Headers by name; one that comes twice counts as none that is allowed."""
    found: dict[str, str] = {}
    for name, value in scope.get("headers", []):
        key = name.decode("latin-1").lower()
        found[key] = "\0" if key in found and key != "cookie" else value.decode("latin-1")
    return found


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    await _answer(send, status, text)


async def _answer(
    send: Send, status: int, text: str, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
