"""Servers of images: find a CT there, fetch it, and send back what was made of it.

Only servers that the user names in a file of their own are ever spoken to (`read_servers`). Two
languages are spoken, DIMSE and DICOMweb, behind one `Archive`. A series that was fetched appears as
a whole folder or not at all, a transfer that broke off goes on where it stopped, and what was sent
is asked for again before it counts as stored.
"""

from planner.pacs.archive import Archive, Query
from planner.pacs.connecting import open_archive
from planner.pacs.fetch import Fetched, fetch_series
from planner.pacs.reference import Reference
from planner.pacs.send import Sent, dicom_files, send_files
from planner.pacs.servers import DimseServer, Server, WebServer, read_servers, servers_file

__all__ = [
    "Archive",
    "DimseServer",
    "Fetched",
    "Query",
    "Reference",
    "Sent",
    "Server",
    "WebServer",
    "dicom_files",
    "fetch_series",
    "open_archive",
    "read_servers",
    "send_files",
    "servers_file",
]
