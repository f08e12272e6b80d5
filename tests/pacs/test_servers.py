"""The user's file of servers, and how a CT on one of them is named."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("platformdirs")

from planner.errors import ConfigurationError
from planner.pacs import DimseServer, Query, Reference, WebServer, read_servers, servers_file

DIMSE = """
[servers.archive]
protocol = "dimse"
host = "127.0.0.1"
port = 4242
ae_title = "ARCHIVE"
"""
WEB = """
[servers.web]
protocol = "dicomweb"
url = "{url}"
"""


def read(tmp_path: Path, text: str) -> dict[str, DimseServer | WebServer]:
    path = tmp_path / "servers.toml"
    path.write_text(text, encoding="utf-8")
    return read_servers(path)


def test_both_kinds_are_read_with_their_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, DIMSE + WEB.format(url="https://pacs.example.org/dicom-web"))
    archive, web = found["archive"], found["web"]
    assert isinstance(archive, DimseServer) and isinstance(web, WebServer)
    assert (archive.ae_title, archive.our_ae_title, archive.retrieve) == (
        "ARCHIVE",
        "PLANNER",
        "get",
    )
    assert (archive.remote, archive.encrypted, web.remote, web.encrypted) == (
        False,
        False,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('retrieve = "move"', "our_port"),
        ("port = 70000", "port"),
        ('ae_title = "  "', "blank"),
        ('ae_title = "LONGER THAN SIXTEEN"', "ae_title"),
        ('password = "x"', "password"),
        ('user = "me"', "password_variable"),
        ("connections = 0", "connections"),
        ('tls = {certificate = "/nowhere.pem"}', "does not exist"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, more: str, said: str) -> None:
    key = more.partition(" =")[0]
    kept = "\n".join(line for line in DIMSE.splitlines() if not line.startswith(f"{key} ="))
    with pytest.raises(ConfigurationError, match=said):
        read(tmp_path, kept + "\n" + more)


def test_a_server_elsewhere_must_know_where_to_send(tmp_path: Path) -> None:
    far = DIMSE.replace("127.0.0.1", "pacs.example.org") + 'retrieve = "move"\nour_port = 4000\n'
    with pytest.raises(ConfigurationError, match="our_host"):
        read(tmp_path, far)
    found = read(tmp_path, far + 'our_host = "10.0.0.7"\n')["archive"]
    assert found.at_once == 1 and found.connections == 2
    with pytest.raises(ConfigurationError, match="not spoken over tls"):
        read(tmp_path, far + 'our_host = "10.0.0.7"\ntls = {}\n')


@pytest.mark.parametrize("what", [{"date": "2026-01-01"}, {"patient_name": "A\\B"}])
def test_what_no_server_understands_is_not_asked(what: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        Query(**what)
    assert Query(date="20260101-", patient_name="M\u00fcller*").date == "20260101-"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://pacs", "http"),
        ("HTTP://pacs/dicom-web", "http"),
        ("https://me:secret@pacs/dicom-web", "no password"),
        ("https://pacs/dicom-web?x=1", "path"),
    ],
)
def test_a_url_is_only_where_the_service_is(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        read(tmp_path, WEB.format(url=url))
    assert "secret" not in str(caught.value)


def test_a_password_goes_in_the_clear_only_where_the_user_says_so(tmp_path: Path) -> None:
    login = 'user = "me"\npassword_variable = "SECRET"\n'
    far = WEB.format(url="http://pacs.example.org/dicom-web") + login
    with pytest.raises(ConfigurationError, match="in the clear"):
        read(tmp_path, far)
    with pytest.raises(ConfigurationError, match="in the clear"):
        read(tmp_path, DIMSE.replace("127.0.0.1", "10.0.0.7") + login)
    assert read(tmp_path, far + "unencrypted_password = true\n")["web"].user == "me"
    assert read(tmp_path, DIMSE + login)["archive"].user == "me"
    with pytest.raises(ConfigurationError, match="in the clear"):
        token = 'token_variable = "SECRET"\n'
        read(tmp_path, WEB.format(url="http://pacs.example.org/dicom-web") + token)


def test_a_password_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read(tmp_path, DIMSE + 'user = "me"\npassword_variable = "PLANNER_TEST_SECRET"\n')
    with pytest.raises(ConfigurationError, match="PLANNER_TEST_SECRET"):
        _ = found["archive"].password
    monkeypatch.setenv("PLANNER_TEST_SECRET", "geheim")
    assert found["archive"].password == "geheim"


def test_a_file_that_is_missing_or_no_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_servers(tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match="TOML"):
        read(tmp_path, "[servers")


def test_the_file_may_be_named_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANNER_SERVERS", str(tmp_path / "mine.toml"))
    assert servers_file() == tmp_path / "mine.toml"
    monkeypatch.delenv("PLANNER_SERVERS")
    assert servers_file().parts[-2:] == ("planner", "servers.toml")


def test_a_reference_is_a_server_and_two_uids() -> None:
    assert Reference.parse("pacs://archive/1.2.3/4.5.6") == Reference("archive", "1.2.3", "4.5.6")
    for wrong in (
        "pacs://archive/1.2.3",
        "pacs:///1.2/3.4",
        "pacs://archive/1.2/../../etc",
        "pacs://archive/../3.4",
        f"pacs://archive/1.2/{'1' * 65}",
        "archive/1.2/3.4",
    ):
        with pytest.raises(ConfigurationError):
            Reference.parse(wrong)
