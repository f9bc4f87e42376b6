"""Who may do what in a bucket, and what is wrong where nobody may."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import pytest

from contract.bundle import manifest
from contract.errors import ConfigurationError, ConflictError, UnavailableError
from contract.store import providers
from contract.store.providers import Bucket
from contract.store.remote import failure
from contract.store.store import Store
from harness import object_stores
from tests.contract.conftest import write_bundle
from tests.contract.store.bucket.conftest import KEY, PUBLIC, set_environment
from tests.contract.store.services import Service

only_amazon = pytest.mark.parametrize("service", ["s3"], indirect=True)


@only_amazon
def test_policies_of_the_documentation_let_each_plane_do_its_part_and_no_more(
    store: Store, bundle: Path, service: Service, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those of docs/how-to/store.md."""

    def acting_as(user: str, **keys: bytes) -> Store:
        set_environment(monkeypatch, service.users[user])
        opened = Store(service.location, cache=cache, **keys)
        opened.digests()
        return opened

    training, fleet = acting_as("training", private_key=KEY), acting_as("fleet", trusted=lambda: [PUBLIC])
    digest = training.put(bundle)
    training.move("candidate", digest, expected=None, by="publish")
    for before in (None, fleet.move("live", fleet.resolve("candidate"), expected=None, by="fleet")):
        with pytest.raises((ConfigurationError, ConflictError), match=r"access denied|somebody else"):
            training.move("live", digest, expected=before, by="training")
    with pytest.raises(ConfigurationError, match=r"move the channel 'live'.* access denied"):
        training.move("live", digest, expected=fleet.read("live"), by="training")
    write_bundle(tmp_path / "other", "other")
    for refused in (lambda: fleet.put(tmp_path / "other"), lambda: fleet.remove(digest)):
        with pytest.raises(ConfigurationError, match="access denied"):
            refused()
    assert fleet.digests() == [digest]


def test_wrong_credential_is_for_a_person_to_correct(
    bucket: Bucket, service: Service, bundle: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    for wrong in service.wrong.values():
        with monkeypatch.context() as patch:
            set_environment(patch, wrong)
            store = Store(service.location, cache=cache)
            for use in (partial(store.put, bundle), partial(store.read, "live"), store.channels):
                with pytest.raises(ConfigurationError, match="check the credentials"):
                    use()


@pytest.mark.parametrize("host", ["169.254.169.254/latest/api/token", "metadata.google.internal/computeMetadata/v1"])
def test_machine_without_a_role_is_for_a_person_to_correct(host: str) -> None:
    from obstore.exceptions import GenericError

    error = GenericError(
        f"Error performing GET http://{host} in 9s, after 6 retries - HTTP error: error sending request"
    )
    assert "check the credentials" in str(failure(error, "the store", "reason"))


@only_amazon
def test_credential_of_a_profile_is_used_where_botocore_finds_it(
    store: Store, bundle: Path, service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    pytest.importorskip("botocore", reason="profiles are read by botocore, which S3 as a source brings along")
    keys = [f"{name.lower()} = {service.environment[name]}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    (tmp_path / "credentials").write_text("\n".join(["[work]", *keys]))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert Store(service.location, cache=cache).put(bundle) == manifest.digest_of(bundle)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.chinacloudapi.cn",
            "a.blob.core.chinacloudapi.cn",
        ),
        ("BlobEndpoint=https://blobs.example/;AccountName=a;SharedAccessSignature=sv=1&sig=x%3D", "blobs.example"),
    ],
)
def test_connection_string_of_azure_gives_the_address(text: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    config = Bucket("az://models/bulkhead")._objects.config
    assert config["account_name"] == "a"
    assert host in config["endpoint"]
    assert config.get("account_key", config.get("sas_key")) in {"a2V5", "sv=1&sig=x%3D"}


def test_bucket_that_is_not_there_is_for_a_person_to_correct(service: Service, bundle: Path, cache: Path) -> None:
    store = Store(f"{service.location[:5]}nowhere/prefix", cache=cache)
    for use in (lambda: store.put(bundle), lambda: store.read("live"), store.digests, lambda: store.claims("0" * 64)):
        with pytest.raises(ConfigurationError, match=r"does not exist.*correct the URL"):
            use()


def test_server_that_does_not_answer_can_be_retried(
    service: Service, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    set_environment(monkeypatch, service.at(1))
    with pytest.raises(UnavailableError, match="did not answer"):
        Store(service.location, cache=cache).read("live")


def test_server_that_never_answers_can_be_retried(
    service: Service, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setitem(providers._CLIENT, "read_timeout", "200ms")
    monkeypatch.setitem(providers._RETRIES, "max_retries", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        set_environment(monkeypatch, service.at(silent.getsockname()[1]))
        place = Store(service.location, cache=cache).place
        for use in (partial(place.read, "live"), partial(place.swap, "live", b"{}", None), place.entries):
            with pytest.raises(UnavailableError, match="did not answer"), place.explained("test"):
                use()


@only_amazon
def test_server_is_trusted_when_its_certificate_is_named(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    object_stores.make_certificate(tmp_path / "certificate.pem")
    with object_stores.files(tmp_path, tmp_path / "certificate.pem") as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{port}")
        with pytest.raises(ConfigurationError, match="certificate is not trusted"):
            Store(service.location, cache=cache).read("live")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        assert Store(service.location, cache=cache).read("live") is None


def test_local_failure_is_no_matter_of_credentials(service: Service, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot put a bundle: .*file.*Not a directory; correct this path"):
        Store(service.location, cache=tmp_path / "file" / "cache").put(bundle)
