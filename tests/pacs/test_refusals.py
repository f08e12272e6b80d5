"""Servers that refuse an association, and how they do it; no server program is needed."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("pynetdicom")

from pynetdicom import acse, build_context

from planner.errors import ServerError
from planner.pacs.association import Associations
from planner.pacs.servers import DimseServer

# PS3.8, table 9-21: rejected for good, by the service user, for a called AE title unknown to it.
RESULT, SOURCE, REASON = 1, 1, 7


class Refusing:
    """Answers every request with A-ASSOCIATE-RJ and hangs up at once."""

    def __init__(self, reason: int) -> None:
        self.reason = reason
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])
        self.thread = Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                client.sendall(bytes([3, 0, 0, 0, 0, 4, 0, RESULT, SOURCE, self.reason]))

    def close(self) -> None:
        self.socket.close()


@pytest.fixture(params=[REASON, 99])
def refusing(request: pytest.FixtureRequest) -> Iterator[Refusing]:
    made = Refusing(request.param)
    yield made
    made.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_the_reason_is_told_however_late_we_look(
    refusing: Refusing, monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    # On a busy machine the answer is there, and the connection closed, before our thread looks.
    request = acse.ACSE.send_request

    def slowly(self: Any) -> None:
        request(self)
        time.sleep(delay)

    monkeypatch.setattr(acse.ACSE, "send_request", slowly)
    server = DimseServer(
        protocol="dimse", host="127.0.0.1", port=refusing.port, ae_title="NOBODY", timeout_s=5
    )
    said = "called ae title not recogni[sz]ed" if refusing.reason == REASON else "reason 99"
    asked = Associations(server, "x").opened([build_context("1.2.840.10008.1.1")])
    with pytest.raises(ServerError, match=f"refused us: {said}.*ae_title 'NOBODY'"), asked:
        pytest.fail("it was refused")
