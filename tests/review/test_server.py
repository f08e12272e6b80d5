"""Where the page listens, and how a browser is sent to it."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

pytest.importorskip("nicegui")
pytest.importorskip("filelock")

from planner.errors import ConfigurationError
from planner.review import server


def test_it_listens_on_loopback_and_nowhere_else() -> None:
    with server._bound(0) as place:
        host, port = place.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(ConfigurationError, match=f"port {port} of this machine cannot be had"):
            server._bound(port)
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass


def test_the_browser_is_sent_by_a_file_that_only_its_owner_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: seen.append(url) or True)
    assert server._open('http://127.0.0.1:1/x/open?token=a"b&c', tmp_path)
    (url,) = seen
    assert "token" not in url  # a command line can be read by every user
    page = tmp_path / "open.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "token=a&quot;b&amp;c" in page.read_text(encoding="utf-8")
