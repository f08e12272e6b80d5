"""DICOM associations with a server: opened, refused, broken off, closed (pynetdicom)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from planner.errors import ConfigurationError, ServerError
from planner.pacs.servers import DimseServer

# The library's own handlers only write logs, which are silenced, and raise over odd messages.
_config.LOG_HANDLER_LEVEL = "none"

# Who did what is told by kind; a strange host name fails in the resolver or in its encoding.
NO_CONNECTION = (OSError, UnicodeError, ValueError)


class Associations:
    """Opens associations with one server, and knows which are open."""

    def __init__(self, server: DimseServer, name: str) -> None:
        self.server, self._name = server, name
        self._open: set[Association] = set()
        self._lock, self._one_port = Lock(), Lock()

    @contextmanager
    def opened(
        self, contexts: list[Any], roles: Sequence[Any] = (), handlers: Sequence[Any] = ()
    ) -> Iterator[Association]:
        """Open an association and close it again; raises ServerError where it is not granted."""
        refusals: list[str] = []
        heard = (evt.EVT_PDU_RECV, _keep_refusal, [refusals])
        association = self._request(contexts, roles, [*handlers, heard])
        with self._lock:
            self._open.add(association)
        try:
            if not association.is_established:
                raise self._refused(refusals)
            yield association
            if association.is_established:
                association.release()
        except RuntimeError as error:
            # What pynetdicom raises where the next message finds the association gone.
            if association.is_established:
                raise
            raise self.broken("between two messages") from error
        finally:
            with self._lock:
                self._open.discard(association)
            if association.is_established:
                association.abort()

    @contextmanager
    def listening(self, contexts: Sequence[Any], handlers: Sequence[Any]) -> Iterator[None]:
        """Take what C-MOVE has the server send to our port; one at a time, as the port is one."""
        entity, server = self._entity(), self.server
        for each in contexts:
            entity.add_supported_context(each.abstract_syntax, each.transfer_syntax)
        entity.require_called_aet = True
        with self._one_port:
            try:
                listener = entity.start_server(
                    (_plain(server.our_host), server.our_port),
                    block=False,
                    evt_handlers=list(handlers),
                )
            except NO_CONNECTION as error:
                raise ConfigurationError(
                    f"the port {server.our_port} of {server.our_host} (our_host, our_port), which "
                    "the server is to send to, cannot be opened: "
                    f"{getattr(error, 'strerror', None) or type(error).__name__}."
                ) from error
            try:
                yield
            finally:
                listener.shutdown()

    def abort(self) -> None:
        """Break off whatever is open."""
        with self._lock:
            left = list(self._open)
        for association in left:
            if association.is_established:
                association.abort()

    def broken(self, when: str) -> ServerError:
        """Say that the connection broke."""
        return ServerError(f"the connection to the server {self._name} broke {when}.")

    def _request(
        self, contexts: list[Any], roles: Sequence[Any], handlers: Sequence[Any]
    ) -> Association:
        server, entity = self.server, self._entity()
        identity = [] if server.user is None else [_identity(server.user, server.password or "")]
        tls = (self._encryption(), _plain(server.host)) if server.encrypted else None
        try:
            return entity.associate(
                _plain(server.host),
                server.port,
                contexts,
                ae_title=server.ae_title,
                ext_neg=[*roles, *identity],
                tls_args=tls,
                evt_handlers=list(handlers),
            )
        except NO_CONNECTION as error:
            raise ServerError(
                f"the server {self._name} ({server.host}:{server.port}) cannot be reached "
                f"({type(error).__name__}). Check host and port, and whether the network that "
                "knows it is connected."
            ) from error

    def _entity(self) -> AE:
        entity = AE(ae_title=self.server.our_ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self.server.timeout_s
        entity.connection_timeout = self.server.timeout_s
        return entity

    def _encryption(self) -> ssl.SSLContext:
        tls = self.server.tls
        assert tls is not None
        try:
            made = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
            if tls.certificate is not None:
                made.load_cert_chain(tls.certificate, tls.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"the certificates of the server {self._name} cannot be read: "
                f"{error.strerror or type(error).__name__}."
            ) from error
        return made

    def _refused(self, refusals: Sequence[str]) -> ServerError:
        server = self.server
        where = f"{self._name} ({server.host}:{server.port})"
        if refusals:
            return ServerError(
                f"the server {where} refused us: {refusals[0]}. Check ae_title "
                f"{server.ae_title!r} (what it is called) and our_ae_title "
                f"{server.our_ae_title!r} (what we are called, which it may have to know)."
            )
        hint = "its certificate" if server.encrypted else "whether it wants TLS"
        return ServerError(
            f"the server {where} cannot be reached, or broke off while we said hello. Check host "
            f"and port, whether it runs, and {hint}."
        )


def _keep_refusal(event: Any, refusals: list[str]) -> None:
    # The association itself does not always know: where the server closes at once behind its
    # refusal, the library may see only that there is no connection.
    refusal = event.pdu
    if not isinstance(refusal, A_ASSOCIATE_RJ):
        return
    try:
        refusals.append(str(refusal.reason_str).lower())
    except ValueError:
        refusals.append(f"reason {refusal.reason_diagnostic}, which is none of PS3.8, 9.3.4")
        # The library would raise in its own thread over such a number, and wait for its time out.
        refusal.source, refusal.reason_diagnostic = 1, 1


def _plain(host: str) -> str:
    """Take the brackets off an IPv6 address."""
    return host.removeprefix("[").removesuffix("]")


def _identity(user: str, password: str) -> UserIdentityNegotiation:
    """User and password, as PS3.7, D.3.3.7 has it."""
    item = UserIdentityNegotiation()
    item.user_identity_type = 2
    item.primary_field, item.secondary_field = user.encode(), password.encode()
    return item
