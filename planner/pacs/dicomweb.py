"""DICOMweb: QIDO-RS to look, WADO-RS to fetch, STOW-RS to send (dicomweb-client).

What the libraries say of a failure holds the URL, and a search's URL holds what was searched for,
such as a patient's id: only the kind of the failure is told on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pydicom
import requests
from dicomweb_client.web import DICOMwebClient
from pydicom.dataset import Dataset
from requests.auth import HTTPBasicAuth

from planner.errors import PlannerError, ServerError
from planner.pacs.archive import (
    MOST_INSTANCES,
    Keep,
    Outgoing,
    Query,
    SeriesFound,
    StudyFound,
    Told,
    text_of,
)
from planner.pacs.received import read_to_send
from planner.pacs.servers import WebServer

# As it is kept, so that nothing is unpacked and packed again on the way.
AS_KEPT = (("application/dicom", "*"),)
# So many instances are listed per request; a server that gives fewer is asked for the rest.
PAGE = 1000
# A file is posted in one piece: in several, a repeated request would be sent without its body.
ONE_PIECE = 2**40
# PS3.18, 10.5.3: the server cannot store this one; every other status is a matter of the server.
OF_THE_FILE = {400, 409, 413, 415, 422}
# Twice the largest multi-frame CT of a whole body; a request takes no longer than the slowest line.
LARGEST_BYTES = 4 * 1024**3
LONGEST_S = 1800.0


class WebArchive:
    """A server that speaks DICOMweb."""

    def __init__(self, server: WebServer, name: str) -> None:
        self.server = server
        self._name = name
        self._stopped = False

    def studies(self, query: Query, limit: int) -> list[StudyFound]:
        """Find studies, the first `limit` of them."""
        filters = {
            "PatientID": query.patient_id,
            "PatientName": query.patient_name,
            "AccessionNumber": query.accession,
            "StudyDate": query.date,
            "ModalitiesInStudy": query.modality,
            "StudyDescription": query.description,
        }
        given = {name: value for name, value in filters.items() if value}
        with self._client() as client:
            found = client.search_for_studies(
                limit=limit,
                search_filters=given or None,
                fields=["StudyDescription", "NumberOfStudyRelatedSeries"],
            )
            return [StudyFound.of(Dataset.from_json(item)) for item in found[:limit]]

    def series(self, study: str) -> list[SeriesFound]:
        """List the series of a study."""
        with self._client() as client:
            found = client.search_for_series(
                study, fields=["NumberOfSeriesRelatedInstances", "SeriesDescription"]
            )
            return [SeriesFound.of(Dataset.from_json(item)) for item in found]

    def instances(self, study: str, series: str) -> list[str]:
        """List the SOP instance UIDs of a series, one more than MOST_INSTANCES at most."""
        uids: dict[str, None] = {}
        with self._client() as client:
            while len(uids) <= MOST_INSTANCES:
                found = client.search_for_instances(study, series, limit=PAGE, offset=len(uids))
                before = len(uids)
                uids |= {text_of(Dataset.from_json(item), "SOPInstanceUID"): None for item in found}
                # Some servers know no offset and give the same page again; whether that was all
                # is for the count of the series to say.
                if not found or len(uids) == before:
                    break
        return list(uids)[: MOST_INSTANCES + 1]

    def retrieve(self, study: str, series: str, uids: Sequence[str], keep: Keep) -> None:
        """Have instances sent, one request each over one connection."""
        with self._client() as client:
            for uid in uids:
                if self._stopped:
                    return
                made = client.retrieve_instance(study, series, uid, media_types=AS_KEPT)
                stream = BytesIO()
                pydicom.dcmwrite(stream, made, enforce_file_format=True)
                keep(stream.getvalue())

    def store(self, files: Sequence[Outgoing], told: Told) -> None:
        """Send files, one request each over one connection."""
        with self._client() as client:
            for each in files:
                if self._stopped:
                    return
                try:
                    reply = client.store_instances([read_to_send(each)], each.study)
                except requests.HTTPError as error:
                    code = None if error.response is None else error.response.status_code
                    if code not in OF_THE_FILE:
                        raise
                    told(each, f"it answered with HTTP {code}")
                    continue
                failed = reply.get("FailedSOPSequence")
                reason = failed[0].get("FailureReason") if failed else None
                number = f"{reason:04X}" if isinstance(reason, int) else "unknown"
                told(each, f"it answered with reason {number}" if failed else "")

    def abort(self) -> None:
        """Break off whatever is under way: after the file at hand."""
        self._stopped = True

    @contextmanager
    def _client(self) -> Iterator[DICOMwebClient]:
        """Open a session; every failure of the network becomes a ServerError."""
        server, name = self.server, self._name
        session = _Session()
        # Neither proxies nor .netrc of the surroundings: nothing that the user did not name here.
        session.trust_env = False
        if server.user is not None:
            session.auth = HTTPBasicAuth(server.user.encode(), (server.password or "").encode())
        if server.token is not None:
            session.headers["Authorization"] = f"Bearer {server.token}"
        if server.tls is not None:
            session.verify = str(server.tls.ca) if server.tls.ca else True
            if server.tls.certificate is not None:
                own, key = str(server.tls.certificate), server.tls.key
                session.cert = (own, str(key)) if key else own
        session.hooks["response"] += [_same_host, _whole]
        try:
            client = DICOMwebClient(server.url, session=session, timeout=server.timeout_s)
            client.set_chunk_size(ONE_PIECE)
            client.set_http_retry_params(retry=False)  # rounds repeat what is missing
            yield client
        except PlannerError:
            raise
        except requests.HTTPError as error:
            code = None if error.response is None else error.response.status_code
            raise ServerError(_status(name, code)) from None
        except requests.exceptions.SSLError:
            raise ServerError(
                f"the server {name} could not prove who it is; name the authority that vouches for "
                "it as ca in its table tls."
            ) from None
        except requests.Timeout:
            raise ServerError(
                f"the server {name} did not answer within {server.timeout_s:g} s (timeout_s)."
            ) from None
        except requests.exceptions.JSONDecodeError as error:
            raise ServerError(_strange(name, error)) from None
        except requests.RequestException as error:
            kind = type(error).__name__
            raise ServerError(
                f"the server {name} cannot be reached, or broke off ({kind}). Check its url, and "
                "whether it runs."
            ) from None
        except Exception as error:
            # Whatever the libraries make of an answer; what it holds is not told on.
            raise ServerError(_strange(name, error)) from None
        finally:
            session.close()


class _Session(requests.Session):
    """Mends what the client asks."""

    def request(self, method: Any, url: Any, **more: Any) -> requests.Response:  # type: ignore[override]
        """Ask with * as it is, which a query may hold (RFC 3986, 3.4) and some do not decode.

        The client's own Host lacks the port, and half of an IPv6 address.
        """
        headers = {k: v for k, v in (more.pop("headers", None) or {}).items() if k != "Host"}
        headers.setdefault("Accept-Encoding", "identity")
        return super().request(method, url.replace("%2A", "*"), headers=headers, **more)


def _same_host(response: Any, *_args: Any, **_more: Any) -> None:
    """Follow no redirection: only the server that was named is spoken to."""
    if response.is_redirect:
        raise requests.TooManyRedirects("redirections are not followed")


def _whole(response: requests.Response, *_args: Any, **_more: Any) -> None:
    """Read an answer, of which neither size nor time is without end, to its closing boundary."""
    data, until = bytearray(), time.monotonic() + LONGEST_S
    for chunk in response.iter_content(1 << 20):
        data += chunk
        if len(data) > LARGEST_BYTES or time.monotonic() > until:
            raise requests.exceptions.ContentDecodingError("it does not end")
    kind, *more = response.headers.get("Content-Type", "").split(";")
    words = dict(part.strip().partition("=")[::2] for part in more)
    boundary = words.get("boundary", "").strip('"')
    if kind.strip().lower() == "multipart/related" and boundary:
        end = f"--{boundary}--".encode()
        if end not in bytes(data[-len(end) - 16 :]):
            raise requests.exceptions.ContentDecodingError("it is cut off")
    response._content = bytes(data)  # as `requests` keeps it, which offers no other way
    response.raw.close()


def _status(name: str, code: int | None) -> str:
    words = {
        401: "wants to know who we are; name user and password_variable, or token_variable",
        403: "does not allow it",
        404: "knows no such thing; check its url",
        507: "is out of room",
    }
    meaning = words.get(code or 0, "did not do it")
    return f"the server {name} answered with HTTP {code}: it {meaning}."


def _strange(name: str, error: Exception) -> str:
    return (
        f"the server {name} gave an answer that is not DICOMweb ({type(error).__name__}). Check "
        "its url."
    )
