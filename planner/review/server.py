"""Serves the page on loopback, for as long as the person wants it.

The address is bound here and handed to uvicorn, so that nothing listens on it before the guard
stands. The browser is given the token through a file that only the person can read: an address on
a command line can be read by every user of a machine.
"""

from __future__ import annotations

import html
import logging
import socket
import tempfile
import webbrowser
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response
from filelock import FileLock, Timeout
from nicegui import ui

from planner.errors import ConfigurationError, OutputError
from planner.export.viewer import library
from planner.review.guard import LARGEST_BODY, OPEN_PATH, Guard
from planner.review.house import House
from planner.review.page import Page
from planner.review.session import Session

LOCK_FILE = ".review.lock"
TITLE = "Sacroplasty plan review"
RECONNECT_S = 5.0
LOOPBACK = "127.0.0.1"
JSON = "application/json"

Told = Callable[[str], None]


def serve(
    folder: Path, ct: Path | None, *, port: int = 0, browser: bool = True, tell: Told = print
) -> None:
    """Serve the review of a plan folder until it is interrupted.

    ct: the plan's CT. port: 0 for any free one. browser: whether to open one. tell: called with
    lines for the person. Raises ConfigurationError where another review of the folder runs.
    """
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise ConfigurationError(
            f"another review of {folder} is running. Use its page, or end it first (Ctrl-C)."
        ) from error
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written to, so changes could not be kept: {error.strerror}."
        ) from error
    with lock:
        tell("Opening the plan …")
        session = Session.open(folder, ct)
        first = session.state.paths[0]
        session.measure(first.entry, first.tip)  # what takes long the first time is done here
        with _bound(port) as place:
            _run(House(session), place, browser, tell)


def _run(house: House, place: socket.socket, browser: bool, tell: Told) -> None:
    host, port = place.getsockname()[:2]
    app = build(house)
    guard = Guard(app, (f"{host}:{port}", f"localhost:{port}"))
    config = uvicorn.Config(
        guard,
        log_level="warning",
        access_log=False,
        ws_max_size=LARGEST_BODY,
        server_header=False,
    )
    address = f"http://{host}:{port}{guard.root}{OPEN_PATH}?token={guard.token}"
    with tempfile.TemporaryDirectory(prefix="planner-review-") as hidden:
        opened = browser and _open(address, Path(hidden))
        # Some browsers may not read the file that they were sent to, and nobody is told of it.
        words = "If no page opened in your browser, open" if opened else "Open"
        tell(f"{words} this address, which works once: {address}\nEnd the review with Ctrl-C.")
        logging.getLogger("nicegui").setLevel(logging.WARNING)
        uvicorn.Server(config).run(sockets=[place])


def build(house: House) -> FastAPI:
    """Build the web application of a review, without its guard."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/viewer.js")
    def viewer() -> Response:
        hand = (resources.files("planner.review") / "hand.js").read_text(encoding="utf-8")
        return Response("\n".join([*library().scripts, hand]), media_type="text/javascript")

    @app.get("/space/{page}")
    def space(page: str) -> Response:
        made = house.space(page)
        if made is None:
            return Response(status_code=404)
        return Response(f'{{"data": "{made.data}", "facts": {made.facts}}}', media_type=JSON)

    @ui.page("/", title=TITLE)
    def index() -> None:
        ui.add_head_html('<script src="viewer.js" defer></script>')
        Page(house).build()

    ui.run_with(
        app,
        title=TITLE,
        favicon="🩻",
        dark=True,
        reconnect_timeout=RECONNECT_S,
        show_welcome_message=False,
        tailwind=False,
    )
    return app


def _bound(port: int) -> socket.socket:
    """Bind a port of loopback, and of nothing else."""
    place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        place.bind((LOOPBACK, port))
        place.listen()  # who comes before the page is ready waits, instead of being turned away
    except OSError as error:
        place.close()
        raise ConfigurationError(
            f"port {port} of this machine cannot be had: {error.strerror}. Choose another --port."
        ) from error
    return place


def _open(address: str, hidden: Path) -> bool:
    """Open a browser on a page that only this user can read, and that goes on to the address."""
    page = hidden / "open.html"
    page.touch(mode=0o600)
    target = html.escape(address, quote=True)
    page.write_text(
        f'<!doctype html><meta http-equiv="refresh" content="0;url={target}"><title>{TITLE}</title>'
        f'<a href="{target}">Open the review</a>',
        encoding="utf-8",
    )
    return webbrowser.open(page.as_uri())
