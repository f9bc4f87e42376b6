"""Files by URL, over HTTP and HTTPS, and what becomes of credentials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.errors import EXIT_CONFIGURATION, ConfigurationError, UnavailableError
from harness import object_stores
from pipelines import paths
from pipelines.params.params import Params
from pipelines.stages.collect import secrets
from tests.pipelines.collect.collecting import ROWS, collect, start_collect, write_csv


@pytest.fixture
def site(workspace: Path) -> Iterator[str]:
    with object_stores.files(workspace) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("kind", ["http", "file", "memory"])
def test_url_gives_the_bytes_that_the_path_gives(site: str, workspace: Path, raw: dict[str, Any], kind: str) -> None:
    import fsspec

    write_csv(ROWS, "deliveries.csv")
    expected = collect(raw)
    fsspec.filesystem("memory").pipe("/delivered/deliveries.csv", Path("deliveries.csv").read_bytes())
    url = {
        "http": f"{site}/deliveries.csv?version=2",
        "file": f"file://{workspace}/deliv*.csv",
        "memory": "memory://delivered/*.csv",
    }[kind]
    assert collect(raw, path=url) == expected


def test_url_of_a_file_may_be_encoded(workspace: Path, raw: dict[str, Any]) -> None:
    write_csv(ROWS, "deliveries.csv")
    expected = collect(raw)
    named = workspace / "deliveries of März, 100%.csv"
    Path("deliveries.csv").rename(named)
    assert collect(raw, path=named.as_uri()) == expected


@pytest.mark.parametrize(
    ("place", "kind", "words"),
    [
        ("gone.csv", UnavailableError, "does not exist"),
        ("500/a.csv", UnavailableError, "did not answer"),
        ("503/a.csv", UnavailableError, "did not answer"),
        ("429/a.csv", UnavailableError, "did not answer"),
        ("400/a.csv", ConfigurationError, "cannot be opened"),
        ("410/a.csv", ConfigurationError, "cannot be opened"),
        ("401/a.csv", ConfigurationError, "check the credentials in the environment"),
        ("403/a.csv", ConfigurationError, "check the credentials in the environment"),
    ],
)
def test_answer_of_a_server_says_whether_a_retry_can_help_and_shows_no_secret(
    site: str, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch, place: str, kind: type[Exception], words: str
) -> None:
    monkeypatch.setenv("DELIVERY_TOKEN", "s3cr3t/ä")
    with pytest.raises(kind, match=words) as caught:
        collect(raw, path=f"{site}/{place}?token=${{DELIVERY_TOKEN}}")
    assert "${DELIVERY_TOKEN}" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_server_that_is_not_there_can_be_retried(workspace: Path, raw: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError, match="did not answer"):
        collect(raw, path="http://127.0.0.1:1/a.csv")


def test_user_and_password_come_from_the_environment(
    site: str, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(ROWS, "deliveries.csv")
    expected = collect(raw)
    Path("private").mkdir()
    Path("deliveries.csv").rename("private/deliveries.csv")
    url = site.replace("//", "//me:${DELIVERY_PASSWORD}@") + "/private/deliveries.csv"
    monkeypatch.setenv("DELIVERY_PASSWORD", object_stores.PASSWORD)
    assert collect(raw, path=url) == expected
    monkeypatch.setenv("DELIVERY_PASSWORD", "wr0ng")
    with pytest.raises(ConfigurationError, match="check the credentials in the environment") as caught:
        collect(raw, path=url)
    assert "wr0ng" not in str(caught.value)


def test_certificate_is_trusted_when_the_environment_names_its_authority(workspace: Path, raw: dict[str, Any]) -> None:
    write_csv(ROWS, "deliveries.csv")
    expected = collect(raw)
    paths.partition("2024-01").unlink()
    certificate = workspace / "server.pem"
    object_stores.make_certificate(certificate)
    with object_stores.files(workspace, certificate) as port:
        raw["data"]["source"]["path"] = f"https://127.0.0.1:{port}/deliveries.csv"
        assert start_collect(raw).wait(60) == EXIT_CONFIGURATION
        assert "certificate is not trusted" in Path("stderr.txt").read_text()
        assert "SSL_CERT_FILE" in Path("stderr.txt").read_text()
        assert not paths.partition("2024-01").exists()
        assert start_collect(raw, SSL_CERT_FILE=str(certificate)).wait(60) == 0
    assert paths.partition("2024-01").read_bytes() == expected


def test_url_names_what_to_set_or_install_when_it_cannot_be_opened(workspace: Path, raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="set NOWHERE_SET"):
        collect(raw, path="https://localhost/${NOWHERE_SET}.csv")
    with pytest.raises(ConfigurationError, match="nosuch"):
        collect(raw, path="nosuch://somewhere/a.csv")


@pytest.mark.parametrize(
    "path",
    [
        "https://me:hunter2@localhost/a.csv",
        "https://hunter2@localhost/a.csv",
        "https://hunter2:@localhost/a.csv",
        "https://${USER}:hunter2@localhost/a.csv",
        "simplecache::https://hunter2@localhost/a.csv",
        "sftp://me:hunter2@localhost/a.csv",
        "https://localhost/a.csv?sig=hunter2",
        "https://localhost/a.csv?v=1&access_token=hunter2&token=${TOKEN}",
        "https://localhost/a.csv?token=${TOKEN}hunter2",
    ],
)
def test_credential_in_a_path_is_refused_without_being_shown(raw: dict[str, Any], path: str) -> None:
    _assert_refused(raw, {"kind": "files", "path": path})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:hunter2@localhost/x",
        "postgresql+psycopg://me:hun/ter2@localhost/x",
        "postgresql+psycopg://me@server:hunter2@localhost/x",
        "postgresql+psycopg://localhost/x?user=me&password=hunter2",
        "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dhunter2",
    ],
)
def test_credential_in_the_url_of_a_database_is_refused_without_being_shown(raw: dict[str, Any], url: str) -> None:
    _assert_refused(raw, {"kind": "sql", "url": url, "table": "t", "cursor": "promised"})


def _assert_refused(raw: dict[str, Any], source: dict[str, Any]) -> None:
    raw["data"]["source"] = source | {"version": "1"}
    with pytest.raises(ValueError, match="contains a credential; write") as caught:
        Params.model_validate(raw)
    assert "hunter2" not in str(caught.value.errors()[0]["msg"])


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "files", "path": "https://${TOKEN}@localhost/a.csv"},
        {"kind": "files", "path": "https://me:${PASSWORD}@localhost:8443/a@2x.csv?sig=${SIGNATURE}&v=1"},
        {"kind": "files", "path": "sftp://me@localhost/a.csv"},
        {"kind": "files", "path": "abfs://deliveries@account.dfs.core.windows.net/*.csv"},
        {"kind": "sql", "url": "postgresql+psycopg://analyst@localhost:5432/x", "table": "t", "cursor": "promised"},
        {"kind": "sql", "url": "postgresql+psycopg://me:${PASSWORD}@localhost/x", "table": "t", "cursor": "promised"},
        {"kind": "sql", "url": "sqlite:///C:/orders@home.sqlite", "table": "t", "cursor": "promised"},
    ],
    ids=lambda source: source.get("path", source.get("url")),
)
def test_user_without_a_password_and_names_of_variables_are_no_credentials(
    raw: dict[str, Any], source: dict[str, Any]
) -> None:
    raw["data"]["source"] = source | {"version": "1"}
    assert Params.model_validate(raw).data.source.version == "1"


def test_secret_is_quoted_in_the_userinfo_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "a@b/c")
    assert secrets.expand("url", "x://me:${WORD}@host/${WORD}") == "x://me:a%40b%2Fc@host/a@b/c"
    assert secrets.redact("bad a%40b%2Fc or a@b/c", "${WORD}") == "bad ${WORD} or ${WORD}"
