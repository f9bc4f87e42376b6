"""The manifest of a bundle, and files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from contract.bundle import manifest
from contract.errors import BundleError
from contract.files import atomic_path, canonical_json, write_atomically


def test_digest_is_the_sha256_of_the_manifest(bundle: Path) -> None:
    content = (bundle / "manifest.json").read_bytes()
    assert manifest.digest_of(bundle) == hashlib.sha256(content).hexdigest()


def test_manifest_lists_every_other_file_by_sha256(bundle: Path) -> None:
    assert manifest.verify(bundle).files == {
        "requirements.txt": hashlib.sha256(b"numpy\n").hexdigest(),
        "src/model.onnx": hashlib.sha256(b"weights").hexdigest(),
    }


def test_bundle_is_refused_when_a_byte_is_flipped(bundle: Path) -> None:
    (bundle / "src" / "model.onnx").write_bytes(b"veights")
    with pytest.raises(BundleError, match=r"src/model\.onnx.*changed"):
        manifest.verify(bundle)


def test_bundle_is_refused_when_a_file_is_added_or_gone(bundle: Path) -> None:
    (bundle / "src" / "__pycache__").mkdir()
    (bundle / "src" / "__pycache__" / "evil.pyc").write_bytes(b"")
    (bundle / "requirements.txt").unlink()
    with pytest.raises(BundleError) as error:
        manifest.verify(bundle)
    assert [(problem.field, problem.problem) for problem in error.value.problems] == [
        ("requirements.txt", "missing"),
        ("src/__pycache__/evil.pyc", "not in the manifest"),
    ]


@pytest.mark.parametrize("target", ["/etc/passwd", "model.onnx", "nowhere"])
def test_bundle_is_refused_when_it_holds_a_link(bundle: Path, target: str) -> None:
    (bundle / "src" / "link").symlink_to(target)
    with pytest.raises(BundleError, match="src/link"):
        manifest.verify(bundle)


def test_bundle_is_refused_when_it_holds_a_pipe(bundle: Path) -> None:
    os.mkfifo(bundle / "pipe")
    with pytest.raises(BundleError, match="pipe"):
        manifest.verify(bundle)


def test_bundle_is_refused_when_its_digest_is_another(bundle: Path) -> None:
    with pytest.raises(BundleError, match="not 0000"):
        manifest.verify(bundle, "0000")


def test_bundle_is_refused_when_its_manifest_is_a_link_or_absent(bundle: Path, tmp_path: Path) -> None:
    path = bundle / "manifest.json"
    path.rename(tmp_path / "elsewhere.json")
    with pytest.raises(BundleError, match="not a bundle"):
        manifest.read(bundle)
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(BundleError, match="not a bundle"):
        manifest.read(bundle)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"name": "x", "unknown": 1}'])
def test_manifest_is_refused_when_it_is_not_of_the_format(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match="not a manifest"):
        manifest.read(bundle)


def test_json_has_one_spelling_only() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == '{\n  "a": "é",\n  "b": 1\n}\n'.encode()
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))


def test_file_is_the_old_one_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"old")
    with pytest.raises(RuntimeError, match="half"), atomic_path(path) as temporary:
        temporary.write_bytes(b"ne")
        raise RuntimeError("half written")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
