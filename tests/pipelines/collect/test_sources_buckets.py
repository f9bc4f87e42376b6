"""Object stores: S3 and Google Cloud Storage as servers of the tests' own; Azure as far as that goes without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.errors import ConfigurationError, UnavailableError
from harness import object_stores
from pipelines.stages.collect import remote
from tests.pipelines.collect.collecting import ROWS, collect, write_csv


@pytest.fixture(scope="module")
def _google() -> Iterator[dict[str, str]]:
    with object_stores.google() as environment:
        yield environment


@pytest.fixture(params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, workspace: Path) -> str:
    """The URL of a bucket that holds January as CSV in two parts, and as Parquet."""
    import fsspec

    environment = request.getfixturevalue("s3" if request.param == "s3" else "_google")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    url = f"{request.param}://deliveries"
    system = fsspec.filesystem(request.param, skip_instance_cache=True)
    system.mkdirs("deliveries", exist_ok=True)
    write_csv(ROWS[:300], "a.csv")
    write_csv(ROWS[300:], "b.csv")
    ROWS.write_parquet("all.parquet")
    for name in ("a.csv", "b.csv", "all.parquet"):
        system.put_file(name, f"deliveries/2024/01/{name}")
    return url


@pytest.mark.parametrize(
    "path", ["2024/01/all.parquet", "2024/*/?.csv", "{month:%Y/%m}/*.csv", "{month:%Y}/0[1-3]/*.parquet"]
)
def test_bucket_gives_the_bytes_that_files_give(bucket: str, raw: dict[str, Any], path: str) -> None:
    name = "*.csv" if path.endswith(".csv") else "*.parquet"  # a Parquet file has its own types
    expected = collect(raw, path=name)
    assert collect(raw, path=f"{bucket}/{path}") == expected


@pytest.mark.parametrize("path", ["2024/01/c.csv", "2024/02/*.csv"])
def test_file_that_is_not_in_the_bucket_yet_can_be_retried(bucket: str, raw: dict[str, Any], path: str) -> None:
    with pytest.raises(UnavailableError, match=r"does not exist|no file matches"):
        collect(raw, path=f"{bucket}/{path}")


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
@pytest.mark.parametrize("path", ["a.csv", "*.csv"])
def test_bucket_that_is_not_there_is_for_a_person_to_correct(bucket: str, raw: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"bucket.*; correct the URL"):
        collect(raw, path=f"s3://deliverys/{path}")


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
@pytest.mark.parametrize("path", ["2024/01/a.csv", "2024/01/*.csv"])
def test_wrong_credential_is_for_a_person_to_correct(
    bucket: str, raw: dict[str, Any], path: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "wrong")
    with pytest.raises(
        ConfigurationError, match=r"access denied, it cannot be read .*check the credentials in the environment"
    ):
        collect(raw, path=f"{bucket}/{path}")


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_no_credential_at_all_is_for_a_person_to_set(
    bucket: str, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    with pytest.raises(ConfigurationError, match="check the credentials in the environment"):
        collect(raw, path=f"{bucket}/2024/01/a.csv")


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_server_of_buckets_that_does_not_answer_can_be_retried(
    bucket: str, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UnavailableError, match="did not answer"):
        collect(raw, path=f"{bucket}/2024/01/a.csv")


def test_azure_takes_account_and_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server: what is opened, and with which credentials."""
    import fsspec

    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    system, place = fsspec.core.url_to_fs("az://deliveries/2024/*.csv", skip_instance_cache=True)
    assert (type(system).__name__, system.account_name, place) == (
        "AzureBlobFileSystem",
        "account",
        "deliveries/2024/*.csv",
    )
    assert system.service_client.credential.account_key == "a2V5"


def test_azure_without_an_account_is_for_a_person_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        remote.download("data.source.path", "az://deliveries/a.csv", tmp_path)
