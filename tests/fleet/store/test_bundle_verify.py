"""`bin/bundle verify` on a bundle that the pipeline built: whatever was changed is refused before anything in it is parsed."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from model_signing import verifying

from contract.bundle import evidence, manifest, signature
from contract.errors import BundleError
from contract.files import canonical_json
from fleet.store.bundle import main, verdict
from harness import PROJECT

KEY = signature.make_key()
PUBLIC = signature.public_key_of(KEY)
FLIPS, OF_THE_SIGNATURE, IN_FULL = 10_000, 200, 200


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    given = os.environ.get("BULKHEAD_TEST_BUNDLE")
    if not given:
        pytest.skip("BULKHEAD_TEST_BUNDLE is not set; `make test` sets it to a bundle that the pipeline built")
    bundle = tmp_path / "bundle"
    shutil.copytree(given, bundle)
    signature.sign(bundle, KEY)
    return bundle


def _flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    changed[draw.randrange(len(changed))] ^= draw.randrange(1, 256)
    return bytes(changed)


def _files(bundle: Path) -> list[Path]:
    return [path for path in sorted(bundle.rglob("*")) if path.is_file() and path.stat().st_size]


def _signed_digests(bundle: Path, key: Path) -> dict[str, bytes]:
    """What the signature covers: the hash of every file, as the verifier compares it."""
    key.write_bytes(PUBLIC)
    hashing, seen = signature._hashing(bundle), []
    hashed = hashing.hash
    hashing.hash = lambda *given, **more: seen.append(hashed(*given, **more)) or seen[0]
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    verifier.set_hashing_config(hashing).verify(bundle, bundle / signature.FILE_NAME)
    return {entry.identifier: entry.digest.digest_value for entry in seen[0].resource_descriptors()}


def test_every_flipped_byte_of_a_real_bundle_has_another_hash_than_was_signed(signed: Path, tmp_path: Path) -> None:
    """Ten thousand bytes anywhere in the tree. Files that did not change are not hashed again; the next test does that, for some."""
    digests = _signed_digests(signed, tmp_path / "key.pem")
    files = {path.relative_to(signed).as_posix(): path.read_bytes() for path in _files(signed)}
    del files[signature.FILE_NAME]
    assert {
        manifest.FILE_NAME,
        evidence.SBOM,
        evidence.PROVENANCE,
        "src/bundle/model.onnx",
        "src/bentos/core.py",
    } < set(files)
    assert {name: sha256(content).digest() for name, content in files.items()}.items() <= digests.items()
    draw = random.Random(4)
    for name in draw.choices(list(files), list(map(len, files.values())), k=FLIPS):
        assert sha256(_flip(files[name], draw)).digest() != digests[name]


def test_flipped_bytes_are_refused_by_the_command(signed: Path) -> None:
    draw = random.Random(5)
    mark = signed / signature.FILE_NAME
    for path in [mark] * OF_THE_SIGNATURE + draw.choices(_files(signed), k=IN_FULL):
        content = path.read_bytes()
        path.write_bytes(_flip(content, draw))
        with pytest.raises(BundleError, match="does not verify"):
            verdict(signed, [PUBLIC])
        path.write_bytes(content)
    assert verdict(signed, [PUBLIC]).startswith("ok: ")


def _another_signature(bundle: Path) -> None:
    other = bundle.parent / "other"
    shutil.copytree(bundle, other)
    (other / "README.md").write_text("another bundle, signed with the same key")
    signature.sign(other, KEY)
    shutil.copyfile(other / signature.FILE_NAME, bundle / signature.FILE_NAME)


def _link(bundle: Path) -> None:
    model = bundle / "src" / "bundle" / "model.onnx"
    model.rename(bundle.parent / "model.onnx")
    model.symlink_to(bundle.parent / "model.onnx")


def _link_to_a_folder(bundle: Path) -> None:
    (bundle / "src" / "more").symlink_to(bundle.parent, target_is_directory=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda bundle: (bundle / "src" / "added.py").write_text("print('evil')"),
        lambda bundle: (bundle / "src" / "bentos" / "core.py").unlink(),
        _link,
        _link_to_a_folder,
        _another_signature,
        lambda bundle: signature.sign(bundle, signature.make_key()),
    ],
    ids=["added", "removed", "link", "link-to-a-folder", "signature-of-another-bundle", "another-key"],
)
def test_tree_that_is_not_what_was_signed_is_refused(signed: Path, change: Callable[[Path], object]) -> None:
    change(signed)
    with pytest.raises(BundleError):
        verdict(signed, [PUBLIC])


WATCHED = """
import os, sys
root = os.environ["ROOT"]
def watch(event, given):
    if event == "open" and str(given[0]).startswith(root):
        print("OPEN", os.path.relpath(given[0], root), given[1], file=sys.stderr)
    if event in ("import", "compile", "exec") and root in repr(given):
        print("RUN", event, file=sys.stderr)
sys.addaudithook(watch)
real = __import__("json").loads
def loads(text, *more, **named):
    print("PARSE", len(text), file=sys.stderr)
    return real(text, *more, **named)
sys.modules["json"].loads = loads
from fleet.store.bundle import main
sys.exit(main(["verify", root]))
"""


def _watched(bundle: Path) -> tuple[int, list[str]]:
    """Exit code, and what the command did with the files of the bundle."""
    (bundle.parent / "public.pem").write_bytes(PUBLIC)
    environment = {
        "ROOT": str(bundle),
        "PYTHONPATH": str(PROJECT),
        "PATH": os.environ["PATH"],
        "BULKHEAD_VERIFY_KEY": str(bundle.parent / "public.pem"),
        "BULKHEAD_VAR": str(bundle.parent / "var"),
    }
    command = [sys.executable, "-c", WATCHED]
    done = subprocess.run(command, env=environment, cwd=bundle.parent, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()


def test_nothing_of_a_bundle_is_parsed_or_run_before_its_signature_verified(signed: Path) -> None:
    code, did = _watched(signed)
    assert code == 0, did
    assert sum(line.startswith("PARSE") for line in did) > 3  # the watch sees what is parsed once all is verified
    assert not [line for line in did if line.startswith("RUN")]
    size = (signed / signature.FILE_NAME).stat().st_size
    for name in (manifest.FILE_NAME, evidence.SBOM, evidence.PROVENANCE):
        (signed / name).write_bytes(canonical_json({"never": "read"}))
    (signed / "src" / "bentos" / "__init__.py").write_text("raise SystemExit('imported')")
    (signed / "src" / "bundle" / "model.onnx").write_bytes(b"no model")
    code, did = _watched(signed)
    assert code == 65
    assert "refused: the signature of" in did[-1]
    assert not [line for line in did if line.startswith("RUN")]
    parsed = [line for line in did if line.startswith("PARSE")]
    assert {line.split()[-1] for line in did if line.startswith("OPEN")} <= {"r", "rb"}
    assert parsed  # of the signature alone: its envelope, and what is signed in it, which no file is longer than
    envelope = json.loads((signed / signature.FILE_NAME).read_bytes())
    assert {int(line.split()[1]) for line in parsed} <= {size, *_lengths(envelope)}


def _lengths(envelope: object) -> set[int]:
    payload = envelope["dsseEnvelope"]["payload"]
    return {len(payload), len(base64.b64decode(payload))}


def test_path_that_is_no_directory_is_not_taken_for_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "bundle")]) == 78
    assert capsys.readouterr().err == f"refused: there is no directory {tmp_path / 'bundle'}\n"
