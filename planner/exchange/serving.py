"""Serves a plan to navigation programs that connect, until it is told to stop.

Who connects gets every message at once and again whenever asked for one (GET_…). The protocol knows
no password and no encryption: anybody who reaches the port gets the plan, hence loopback unless the
user names another address.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from planner.errors import ConfigurationError
from planner.exchange.anonymous import anonymous
from planner.exchange.handover import Handover, Settings

NAME = "openigtlink"
# The port that the protocol's programs expect.
PORT = 18944
HOST = "127.0.0.1"
# OpenIGTLink, header: version, type, device, time, size of the body, checksum.
HEADER = struct.Struct("> H 12s 20s Q Q Q")
# What asks for a plan is short; whoever announces more is no navigation program.
LONGEST_REQUEST = 1 << 20
MOST_CLIENTS = 8
PIECE = 1 << 16
# A client that takes no more of a message for so long is gone.
PATIENCE_S = 30.0
# Nor one that asks for nothing for so long: navigation programs connect again by themselves.
IDLE_S = 900.0


def parse_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, :PORT, PORT or HOST; the rest is HOST and PORT of this module."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = ("", text) if _is_number(text) else (text, "")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if (port and not (_is_number(port) and int(port) < 65536)) or (":" in host and not bracketed):
        raise ConfigurationError(f"--serve {text}: HOST:PORT is expected, such as {HOST}:{PORT}.")
    return host or HOST, int(port) if port else PORT


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can connect to an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve_plan(
    folder: Path,
    address: tuple[str, int],
    ready: Callable[[str, int], None] | None = None,
    *,
    anonymize: bool = False,
) -> None:
    """Serve a plan folder on an address until KeyboardInterrupt.

    ready: called with host and port when clients can connect; port 0 takes a free one. anonymize:
    as for files. Raises
    ConfigurationError where the folder is no plan's, or the address cannot be listened on.
    """
    made = packed(folder, anonymize)
    from planner.exchange.openigtlink import refused

    host, port = address
    try:
        server = _Server((host, port), _Client)
    except OSError as error:
        raise ConfigurationError(
            f"{host}:{port} cannot be listened on: {error.strerror}. Is another program using it?"
        ) from error
    server.messages, server.refusal = made, refused(MOST_CLIENTS)
    with server:
        if ready is not None:
            ready(host, int(server.server_address[1]))
        server.serve_forever(poll_interval=0.2)


def packed(folder: Path, anonymize: bool = False) -> list[bytes]:
    """Return the messages of a plan folder; raises ConfigurationError without the extra."""
    try:
        from planner.exchange.openigtlink import messages
    except ImportError as error:
        raise ConfigurationError(
            f"the format {NAME} needs the extra {NAME}; install it with: pip install "
            f"'planner[{NAME}]'"
        ) from error
    handover = Handover.of(folder, None, Settings(reproducible=True, anonymize=anonymize))
    return messages(anonymous(handover) if anonymize else handover)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    messages: list[bytes]
    refusal: bytes = b""

    def __init__(self, address: tuple[str, int], handler: type[_Client]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.room = BoundedSemaphore(MOST_CLIENTS)
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away; whatever else is a defect keeps its traceback."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Client(socketserver.StreamRequestHandler):
    timeout = None
    server: _Server

    def setup(self) -> None:
        # A peer that vanished without a word gives its place back.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        super().setup()

    def handle(self) -> None:
        if not self.server.room.acquire(blocking=False):
            with suppress(OSError):
                self.connection.settimeout(PATIENCE_S)
                self.connection.sendall(self.server.refusal)
            return
        try:
            self._send()
            while self._asked():
                self._send()
        except OSError:
            return  # it went away, which is its right
        finally:
            self.server.room.release()

    def _send(self) -> None:
        self.connection.settimeout(PATIENCE_S)
        for message in self.server.messages:
            view = memoryview(message)
            for start in range(0, len(view), PIECE):  # patience is for each, not for gigabytes
                self.connection.sendall(view[start : start + PIECE])
        self.connection.settimeout(IDLE_S)

    def _asked(self) -> bool:
        """Wait until it asks for something; False when it is gone."""
        while True:
            header = self.rfile.read(HEADER.size)
            if len(header) < HEADER.size:
                return False
            _, kind, _, _, size, _ = HEADER.unpack(header)
            if size > LONGEST_REQUEST or len(self.rfile.read(size)) < size:
                return False
            if kind.startswith(b"GET_"):
                return True
