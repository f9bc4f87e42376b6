"""A signature covers every byte of a bundle, itself included: any change is refused."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contract import signature
from contract.errors import BundleError, ConfigurationError
from contract.store import Store

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
    signature.verify(signed, PUBLIC)
    signature.verify(signed.rename(tmp_path / "elsewhere"), PUBLIC)


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
            signature.verify(signed, PUBLIC)
        path.write_bytes(contents[path])
    signature.verify(signed, PUBLIC)


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
        signature.verify(signed, PUBLIC)


def test_keys_that_are_none_are_named(signed: Path) -> None:
    with pytest.raises(ConfigurationError, match="the signing key is no PEM"):
        signature.sign(signed, b"secret")
    for public in (b"", b"-----BEGIN PUBLIC KEY-----", KEY):
        with pytest.raises(ConfigurationError, match="key to verify"):
            signature.verify(signed, public)


def test_store_signs_what_it_takes_and_gives_only_what_verifies(bundle: Path, tmp_path: Path) -> None:
    location = str(tmp_path / "store")
    digest = Store(location).put(bundle)
    reader = Store(location, public_key=PUBLIC)
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
