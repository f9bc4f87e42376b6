"""Bundles in a bucket: whole or not there, and nothing bad is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from contract.bundle import manifest, signature
from contract.errors import BundleError
from contract.store.providers import Bucket
from contract.store.store import Store
from tests.contract.conftest import write_bundle
from tests.contract.store.bucket.conftest import objects
from tests.contract.store.services import Service

only_google = pytest.mark.parametrize("service", ["gs"], indirect=True)


def test_bundle_comes_back_when_it_was_put(store: Store, bundle: Path, bucket: Bucket) -> None:
    digest = store.put(bundle)
    assert (store.path(digest) / "src" / "model.onnx").read_text() == "weights"
    assert (store.digests(), store.resolve(digest[:8])) == ([digest], digest)
    assert store.claims(digest) == manifest.read(bundle)
    names = ["bundle.sig", "manifest.json", "requirements.txt", "src/model.onnx"]
    assert objects(bucket) == [f"bundles/{digest}/{name}" for name in names]


def test_bundle_is_completed_by_another_put_and_goes_when_it_is_removed(
    store: Store, bundle: Path, bucket: Bucket
) -> None:
    digest = store.put(bundle)
    (entry,) = store.entries()
    bucket.delete(f"bundles/{digest}/src/model.onnx")
    assert store.put(bundle) == digest
    (again,) = store.entries()
    assert (again.name, again.size_bytes) == (digest, entry.size_bytes)
    assert again.size_bytes > (bundle / "manifest.json").stat().st_size
    assert again.stored_at >= entry.stored_at
    assert store.remove(digest) is True
    assert (store.digests(), store.leftovers(), objects(bucket)) == ([], [], [])


@pytest.mark.parametrize("service", ["s3", "az"], indirect=True)  # the tests' server of Google's has no such uploads
def test_large_file_comes_back_when_its_upload_has_parts(store: Store, bundle: Path) -> None:
    """5 MiB are obstore's size of a part."""
    content = Random(3).randbytes(12 << 20)
    (bundle / "src" / "large.bin").write_bytes(content)
    write_bundle(bundle)
    assert (store.path(store.put(bundle)) / "src" / "large.bin").read_bytes() == content


def test_file_comes_back_when_its_name_has_to_be_encoded(store: Store, bundle: Path) -> None:
    names = ["a b.txt", "ü.txt", "100%.txt", "%2F.txt", "a#b?.txt", "+&=.txt"]
    for name in names:
        (bundle / "src" / name).write_text(name)
    write_bundle(bundle)
    stored = store.path(store.put(bundle))
    assert [(stored / "src" / name).read_text() for name in names] == names


def test_bundle_is_refused_and_leaves_nothing_when_it_is_not_what_it_claims(
    store: Store, bundle: Path, bucket: Bucket
) -> None:
    (bundle / "src" / "model.onnx").write_text("other")
    with pytest.raises(BundleError, match="changed"):
        store.put(bundle)
    assert objects(bucket) == []


def test_bundle_is_not_there_before_its_manifest_and_a_retry_completes_it(
    store: Store, bundle: Path, bucket: Bucket
) -> None:
    digest = store.put(bundle)
    bucket.delete(f"bundles/{digest}/manifest.json")
    assert (store.digests(), [entry.name for entry in store.leftovers()]) == ([], [digest])
    for use in (store.path, store.claims, lambda value: store.move("live", value, expected=None, by="test")):
        with pytest.raises(BundleError, match="no bundle"):
            use(digest)
    assert store.put(bundle) == digest
    assert (store.digests(), store.leftovers()) == ([digest], [])


def test_upload_that_was_cut_short_is_deleted(store: Store, bundle: Path, bucket: Bucket) -> None:
    digest = store.put(bundle)
    bucket.delete(f"bundles/{digest}/manifest.json")
    store.remove_leftover(digest)
    assert objects(bucket) == []


def _content(bucket: Bucket, key: str) -> bytearray:
    state = bucket.read(key)
    assert state is not None
    return bytearray(state.content)


def _flip(bucket: Bucket, key: str) -> None:
    content = _content(bucket, key)
    content[len(content) // 2] ^= 1
    bucket.write(key, bytes(content))


CORRUPTIONS: dict[str, tuple[Callable[[Bucket, str], None], str]] = {
    "flipped": (_flip, "model.onnx"),
    "truncated": (lambda bucket, key: bucket.write(key, bytes(_content(bucket, key)[:-1])), "model.onnx"),
    "missing": (lambda bucket, key: bucket.delete(key), "model.onnx"),
    "added": (lambda bucket, key: bucket.write(f"{key}.2", b"more"), "model.onnx.2"),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_bad_object_is_named_before_the_bundle_is_used(
    store: Store, unchecked: Store, bundle: Path, bucket: Bucket, cache: Path, corruption: str
) -> None:
    digest = store.put(bundle)
    good = store.path(digest)
    spoil, named = CORRUPTIONS[corruption]
    spoil(bucket, f"bundles/{digest}/src/model.onnx")
    for use in (store.path, unchecked.path, lambda value: store.move("live", value, expected=None, by="test")):
        with pytest.raises(BundleError, match=named):
            use(digest)
    assert store.read("live") is None
    manifest.verify(good, digest)  # the copy that may be served from is left alone
    assert [path.name for path in cache.iterdir() if path.name.startswith(".")] == []


@only_google  # no client of the tests can write such a key
@pytest.mark.parametrize("name", ["src/../../../../x", "src//x", "/x"])
def test_object_that_lies_outside_of_its_bundle_is_named(
    service: Service, store: Store, bundle: Path, bucket: Bucket, name: str
) -> None:
    digest, server = store.put(bundle), service.server
    assert server is not None
    server.store(f"bulkhead/bundles/{digest}/{name}", b"more")
    for use in (store.path, lambda value: store.move("live", value, expected=None, by="test")):
        with pytest.raises(BundleError, match=f"{digest}/{name}"):
            use(digest)
    server.stored.clear()


def test_manifest_that_was_changed_is_refused(store: Store, bundle: Path, bucket: Bucket) -> None:
    digest = store.put(bundle)
    _flip(bucket, f"bundles/{digest}/manifest.json")
    with pytest.raises(BundleError, match="digest"):
        store.claims(digest)
    with pytest.raises(BundleError, match=r"does not verify|digest"):
        store.path(digest)


def test_copy_that_is_corrupt_here_is_fetched_again(store: Store, bundle: Path) -> None:
    copy = store.path(store.put(bundle)) / "src" / "model.onnx"
    copy.chmod(0o644)
    copy.write_text("veights")
    assert (store.path(manifest.digest_of(bundle)) / "src" / "model.onnx").read_text() == "weights"


def test_signature_is_looked_at_when_it_changed(store: Store, unchecked: Store, bundle: Path, cache: Path) -> None:
    digest = unchecked.put(bundle)
    with pytest.raises(BundleError, match="not signed"):
        store.path(digest)
    store.put(bundle)
    assert store.path(digest).is_dir()
    Store(store.location, private_key=signature.make_key(), cache=cache).put(bundle)
    with pytest.raises(BundleError, match="does not verify"):
        store.path(digest)
