"""A signature covers every byte of a bundle, itself included: any change is refused."""

from __future__ import annotations

import base64
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.bundle import signature, trusted_keys
from contract.errors import BundleError, ConfigurationError
from contract.store.store import Store

pytest.importorskip("model_signing", reason="serving neither signs nor verifies: it runs what was verified")

KEY = signature.make_key()
PUBLIC = signature.public_key_of(KEY)
FLIPS = 10_000


@pytest.fixture
def signed(bundle: Path) -> Path:
    (bundle / "src" / "empty").mkdir()
    signature.sign(bundle, KEY)
    return bundle


def test_signed_bundle_verifies_wherever_it_lies(signed: Path, tmp_path: Path) -> None:
    signature.verify(signed, [PUBLIC])
    signature.verify(signed.rename(tmp_path / "elsewhere"), [PUBLIC])


def test_every_flipped_byte_is_refused(signed: Path) -> None:
    draw = random.Random(1)
    files = [path for path in signed.rglob("*") if path.is_file()]
    contents = {path: path.read_bytes() for path in files}
    # Half of them in the signature itself, whose format has bytes that its library does not look at.
    for number in range(FLIPS):
        path = signed / signature.FILE_NAME if number % 2 else draw.choice(files)
        changed = bytearray(contents[path])
        changed[draw.randrange(len(changed))] ^= draw.randrange(1, 256)
        path.write_bytes(changed)
        with pytest.raises(BundleError):
            signature.verify(signed, [PUBLIC])
        path.write_bytes(contents[path])
    signature.verify(signed, [PUBLIC])


def _link(bundle: Path) -> None:
    model = bundle / "src" / "model.onnx"
    shutil.copyfile(model, bundle.parent / "outside")
    model.unlink()
    model.symlink_to(bundle.parent / "outside")


@pytest.mark.parametrize(
    "change",
    [
        lambda bundle: (bundle / "src" / "added.py").write_text("print('evil')"),
        lambda bundle: (bundle / ".gitattributes").write_text("* text"),
        lambda bundle: (bundle / "requirements.txt").unlink(),
        lambda bundle: (bundle / "requirements.txt").rename(bundle / "other.txt"),
        lambda bundle: (bundle / signature.FILE_NAME).unlink(),
        lambda bundle: signature.sign(bundle, signature.make_key()),
        _link,
    ],
    ids=["added", "git-file", "removed", "renamed", "unsigned", "swapped-signature", "link"],
)
def test_tree_that_is_not_what_was_signed_is_refused(signed: Path, change: Callable[[Path], object]) -> None:
    change(signed)
    with pytest.raises(BundleError):
        signature.verify(signed, [PUBLIC])


def test_keys_that_are_none_are_named(signed: Path) -> None:
    with pytest.raises(ConfigurationError, match="the signing key is not a PEM"):
        signature.sign(signed, b"secret")
    broken = PUBLIC.replace(b"MFkw", b"AAAA")
    for public in (b"", b"-----BEGIN PUBLIC KEY-----", KEY, broken):
        with pytest.raises(ConfigurationError, match="to verify bundles with"):
            trusted_keys.parse(public, "here")


def test_bundle_of_an_older_key_verifies_when_both_keys_are_trusted(signed: Path, tmp_path: Path) -> None:
    other = signature.public_key_of(signature.make_key())
    assert signature.verify(signed, [other, PUBLIC]) == PUBLIC
    with pytest.raises(BundleError, match=f"with the key {signature.key_id(other)}: it was made with another key"):
        signature.verify(signed, [other])
    unusual = PUBLIC.replace(b"\n", b"\r\n").rstrip()
    (tmp_path / "keys").mkdir()
    for name, key in (("old.pem", unusual), ("new.pem", other)):
        (tmp_path / "keys" / name).write_bytes(key)
    for named in (f"{other.decode()}{PUBLIC.decode()}", str(tmp_path / "keys"), "keys"):
        trusted = trusted_keys.read({trusted_keys.VARIABLE: named}, tmp_path, tmp_path)
        assert set(trusted) == {PUBLIC, other}
        assert signature.verify(signed, trusted) == PUBLIC


def test_signature_is_about_the_bundles_digest_wherever_it_was_signed(bundle: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), private_key=KEY)
    digest = store.put(bundle)
    envelope = json.loads((store.path(digest) / signature.FILE_NAME).read_bytes())["dsseEnvelope"]
    (subject,) = json.loads(base64.b64decode(envelope["payload"]))["subject"]
    assert subject["name"] == digest


def test_store_signs_what_it_takes_and_gives_only_what_verifies(bundle: Path, tmp_path: Path) -> None:
    location = str(tmp_path / "store")
    digest = Store(location).put(bundle)
    reader = Store(location, trusted=lambda: [PUBLIC])
    with pytest.raises(BundleError, match="is not signed"):
        reader.path(digest)
    with pytest.raises(BundleError, match="is not signed"):
        reader.move("live", digest, expected=None, by="test")
    assert Store(location, private_key=KEY).put(bundle) == digest  # published again, now with a key
    assert reader.path(digest).name == digest
    assert reader.path(digest).stat().st_mode & 0o222 == 0
    before = (reader.path(digest) / signature.FILE_NAME).read_bytes()
    Store(location, private_key=KEY).put(bundle)
    assert (reader.path(digest) / signature.FILE_NAME).read_bytes() == before
