"""The signing key of a machine that was given none: lost, replaced, put back. What was signed before stays trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.bundle import signature, trusted_keys
from contract.errors import ConfigurationError
from contract.store.store import Store
from pipelines.__main__ import main
from pipelines.machine import own_keys
from tests.contract.conftest import write_bundle


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BULKHEAD_VAR", str(tmp_path / "var"))
    monkeypatch.delenv("BULKHEAD_SIGNING_KEY", raising=False)
    return tmp_path / "var" / "keys"


def trusted(keys: Path) -> tuple[bytes, ...]:
    """As the fleet reads them."""
    return trusted_keys.read({}, keys, Path())


def test_key_is_made_once_and_only_its_owner_can_read_it(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = own_keys.signing(keys)
    assert own_keys.signing(keys) == key
    assert (
        capsys.readouterr().err
        == f"made a key to sign bundles with: {keys / 'signing.pem'} (production keys: docs/how-to/keys.md)\n"
    )
    assert trusted(keys) == (signature.public_key_of(key),)
    assert [path.stat().st_mode & 0o777 for path in (keys, keys / "signing.pem")] == [0o700, 0o600]


def test_no_other_key_is_made_when_the_signing_key_is_lost(keys: Path) -> None:
    own_keys.signing(keys)
    (keys / "signing.pem").unlink()
    with pytest.raises(ConfigurationError, match=r"signing\.pem is lost.*rotate-key"):
        own_keys.signing(keys)
    assert [path.name for path in keys.iterdir()] == ["verify.pem"]


@pytest.mark.parametrize("is_lost", [False, True], ids=["planned", "lost"])
def test_bundles_of_the_key_before_stay_trusted_and_as_they_were_signed_when_it_is_rotated(
    keys: Path, tmp_path: Path, is_lost: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def store() -> Store:
        return Store(str(tmp_path / "store"), private_key=own_keys.signing(keys), trusted=lambda: trusted(keys))

    write_bundle(tmp_path / "bundle")
    digest = store().put(tmp_path / "bundle")
    (before,) = trusted(keys)
    if is_lost:
        (keys / "signing.pem").unlink()
    assert main(["rotate-key"]) == 0
    assert "is a new key" in capsys.readouterr().out
    after = signature.public_key_of(own_keys.signing(keys))
    assert set(trusted(keys)) == {before, after}
    assert after != before
    signed = (store().path(digest) / signature.FILE_NAME).read_bytes()
    assert store().put(tmp_path / "bundle") == digest
    assert (store().path(digest) / signature.FILE_NAME).read_bytes() == signed
    (keys / f"verify-{signature.key_id(before)}.pem").unlink()  # trusted no more
    assert store().put(tmp_path / "bundle") == digest
    assert signature.verify(store().path(digest), [after]) == after


def test_public_key_follows_when_another_signing_key_is_put_there(keys: Path) -> None:
    first = own_keys.signing(keys)
    second = signature.make_key()
    (keys / "signing.pem").write_bytes(second)
    assert own_keys.signing(keys) == second
    assert set(trusted(keys)) == {signature.public_key_of(first), signature.public_key_of(second)}


@pytest.mark.parametrize("named", ["", "nowhere.pem"])
def test_publishing_is_refused_when_the_signing_key_that_is_named_cannot_be_read(
    named: str, keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BULKHEAD_SIGNING_KEY", named)
    assert main(["rotate-key"]) == 78
    assert capsys.readouterr().err.startswith("\nrotate-key stopped: BULKHEAD_SIGNING_KEY ")
    from pipelines.machine.settings import signing_key

    with pytest.raises(ConfigurationError, match=f"BULKHEAD_SIGNING_KEY names '{named}', which cannot be read"):
        signing_key()
    assert not keys.exists()
