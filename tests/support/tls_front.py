"""HTTPS before a server that speaks HTTP only, as a hospital's gateway does it."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from threading import Thread


class TlsFront:
    """Takes TLS on a port of its own and hands what it says to another port of this machine."""

    def __init__(self, certificate: Path, key: Path, port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._behind = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        Thread(target=self._take, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = self._listening.accept()
                Thread(target=self._serve, args=(taken,), daemon=True).start()

    def _serve(self, taken: socket.socket) -> None:
        with contextlib.suppress(OSError):
            before = self._context.wrap_socket(taken, server_side=True)
            behind = socket.create_connection(("127.0.0.1", self._behind))
            Thread(target=_pump, args=(behind, before), daemon=True).start()
            _pump(before, behind)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError), source, sink:
        while data := source.recv(65536):
            sink.sendall(data)
