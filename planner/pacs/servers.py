"""The servers that a user named, in a TOML file of their own.

    [servers.archive]
    protocol = "dimse"
    host = "pacs.example.org"
    port = 104
    ae_title = "ARCHIVE"

Passwords and tokens never stand in the file: it names the environment variable that holds them.
"""

from __future__ import annotations

import os
import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from planner.errors import ConfigurationError

VARIABLE = "PLANNER_SERVERS"
FILE_NAME = "servers.toml"
# PS3.5: an application entity is called by 16 printable characters of ASCII at most, no backslash.
AE_TITLE = r"^[ -\[\]-~]{1,16}$"
NAME = r"^[A-Za-z0-9_.-]{1,64}$"
Port = Annotated[int, Field(ge=1, le=65535)]
Title = Annotated[str, Field(pattern=AE_TITLE)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(_Closed):
    """Encryption. ca: who vouches for the server; certificate and key: who we are (PEM files)."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @field_validator("ca", "certificate", "key")
    @classmethod
    def _there(cls, value: Path | None) -> Path | None:
        if value is not None and not value.expanduser().is_file():
            raise ValueError(f"the file {value} does not exist")
        return None if value is None else value.expanduser()

    @model_validator(mode="after")
    def _pair(self) -> Tls:
        if self.key is not None and self.certificate is None:
            raise ValueError("a key is of no use without its certificate")
        return self


class _Server(_Closed):
    """What servers of both languages have.

    timeout_s: how long silence is borne. retries: rounds in a row that bring nothing before giving
    up. connections: how many at once.
    """

    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    connections: Annotated[int, Field(ge=1, le=8)] = 2
    user: str | None = None
    password_variable: str | None = None
    tls: Tls | None = None
    unencrypted_password: bool = False

    @property
    def password(self) -> str | None:
        """The password, read from the environment; ConfigurationError where it is not there."""
        return None if self.password_variable is None else _secret(self.password_variable)

    @property
    def at_once(self) -> int:
        """How many connections may be open."""
        return self.connections

    @model_validator(mode="after")
    def _user_and_password(self) -> _Server:
        if (self.user is None) != (self.password_variable is None):
            raise ValueError("user and password_variable go together")
        return self

    def _check_password(self, encrypted: bool, host: str) -> None:
        if not encrypted and not is_here(host) and not self.unencrypted_password:
            raise ValueError(
                "a password would go over the net in the clear; use tls (or https), or say "
                "unencrypted_password = true"
            )


class DimseServer(_Server):
    """A server that speaks DIMSE (C-FIND, C-GET or C-MOVE, C-STORE).

    retrieve: "get", or "move" to a port of ours (our_host, our_port), which the server must know by
    our_ae_title; one connection at a time then, and not with tls.
    """

    protocol: Literal["dimse"]
    host: Annotated[str, Field(min_length=1)]
    port: Port
    ae_title: Title
    our_ae_title: Title = "PLANNER"
    retrieve: Literal["get", "move"] = "get"
    our_host: str = "127.0.0.1"
    our_port: Port | None = None

    @property
    def encrypted(self) -> bool:
        """Whether what is said goes encrypted."""
        return self.tls is not None

    @property
    def remote(self) -> bool:
        """Whether the server is on another machine."""
        return not is_here(self.host)

    @property
    def at_once(self) -> int:
        """How many connections may be open: our port is only one."""
        return 1 if self.retrieve == "move" else self.connections

    @field_validator("ae_title", "our_ae_title")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("it is blank")
        return value

    @model_validator(mode="after")
    def _whole(self) -> DimseServer:
        if self.retrieve == "move":
            if self.our_port is None:
                raise ValueError('retrieve = "move" needs our_port, which the server sends to')
            if self.remote and is_here(self.our_host):
                raise ValueError(
                    'retrieve = "move" needs our_host, the address under which the server reaches '
                    "this machine"
                )
            if self.tls is not None:
                raise ValueError('retrieve = "move" is not spoken over tls; use "get"')
        if self.password_variable is not None:
            self._check_password(self.encrypted, self.host)
        return self


class WebServer(_Server):
    """A server that speaks DICOMweb (QIDO-RS, WADO-RS, STOW-RS) under a URL."""

    protocol: Literal["dicomweb"]
    url: str
    token_variable: str | None = None

    @property
    def token(self) -> str | None:
        """The bearer token, read from the environment; ConfigurationError where it is not there."""
        return None if self.token_variable is None else _secret(self.token_variable)

    @property
    def encrypted(self) -> bool:
        """Whether what is said goes encrypted."""
        return urlsplit(self.url).scheme == "https"

    @property
    def remote(self) -> bool:
        """Whether the server is on another machine."""
        return not is_here(urlsplit(self.url).hostname or "")

    @model_validator(mode="after")
    def _whole(self) -> WebServer:
        parts = urlsplit(self.url)
        if not self.url.startswith(("http://", "https://")) or not parts.hostname:
            raise ValueError("url must begin with http:// or https:// and name a host")
        if parts.username or parts.password:
            raise ValueError("no password in the url; name user and password_variable")
        if parts.query or parts.fragment:
            raise ValueError("url must end with the path of the service")
        if self.tls is not None and not self.encrypted:
            raise ValueError("tls is for https; the url begins with http")
        if self.token_variable is not None and self.user is not None:
            raise ValueError("name a user or a token, not both")
        if self.password_variable is not None or self.token_variable is not None:
            self._check_password(self.encrypted, parts.hostname)
        return self


Server = DimseServer | WebServer
ServerName = Annotated[str, Field(pattern=NAME)]


class _File(_Closed):
    servers: dict[ServerName, Annotated[Server, Field(discriminator="protocol")]]


def servers_file() -> Path:
    """Return where the user's servers are named: VARIABLE, or the user's configuration folder."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    from platformdirs import user_config_path

    return user_config_path("planner", appauthor=False) / FILE_NAME


def read_servers(path: Path | None = None) -> dict[str, Server]:
    """Read the servers of a file (default `servers_file`); raises ConfigurationError."""
    file = servers_file() if path is None else path
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"no servers are named: {file} does not exist. Write it, with a table "
            '[servers.NAME] of protocol = "dimse", host, port and ae_title, or protocol = '
            '"dicomweb" and url.'
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read as TOML: {error}.") from error
    try:
        return dict(_File.model_validate(values).servers)
    except ValidationError as error:
        # What was typed is left out: it may be a password at the wrong place.
        faults = (
            f"{'.'.join(str(each) for each in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"{file} is not as expected: {'; '.join(faults)}.") from None


def is_here(host: str) -> bool:
    """Tell whether a host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _secret(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigurationError(
            f"the environment variable {name}, which a password or token is to be read from, is "
            "not set."
        )
    return value
