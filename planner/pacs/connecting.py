"""The archive behind a server that the user named, in the language that it speaks."""

from __future__ import annotations

import logging
from importlib.util import find_spec

from planner.errors import ConfigurationError
from planner.pacs.archive import Archive
from planner.pacs.servers import DimseServer, Server, WebServer

EXTRA = "pacs"


def open_archive(server: Server, name: str) -> Archive:
    """Return the archive behind a server, without speaking to it yet.

    name: what the user calls it, for messages. Raises ConfigurationError where the extra is not
    installed.
    """
    for module in ("pynetdicom", "dicomweb_client", "platformdirs"):
        if find_spec(module) is None:
            raise ConfigurationError(
                f"servers need the extra {EXTRA}; install it with: pip install 'planner[{EXTRA}]'"
            )
    # Their logs hold what was searched for, which may be a patient's name.
    for module in ("pynetdicom", "dicomweb_client", "retrying", "urllib3"):
        logging.getLogger(module).setLevel(logging.CRITICAL + 1)
    if isinstance(server, DimseServer):
        from planner.pacs.dimse import DimseArchive

        return DimseArchive(server, name)
    assert isinstance(server, WebServer)
    from planner.pacs.dicomweb import WebArchive

    return WebArchive(server, name)
