"""The core and its counters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bentos.core import Core
from contract.bundle import manifest
from contract.errors import BundleError, InvalidRowsError, TooLargeError
from contract.files import canonical_json, sha256
from tests.bentos.conftest import Case


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    target = tmp_path / "bundle"
    shutil.copytree(bundle, target)
    return target


def rewrite(bundle: Path, name: str, content: bytes) -> None:
    """Change a file and make the manifest agree with it, as a publisher of a wrong bundle would."""
    path = bundle / manifest.ARTIFACT / name
    path.write_bytes(content)
    claims = json.loads((bundle / manifest.FILE_NAME).read_bytes())
    claims["files"][f"{manifest.ARTIFACT}/{name}"] = sha256(path)
    (bundle / manifest.FILE_NAME).write_bytes(canonical_json(claims))


def test_core_answers_golden_rows(core: Core, case: Case) -> None:
    assert core.predict(case.rows) == case.answers
    assert (core.version, core.example) == (case.version, case.rows[0])


def test_core_refuses_rows_when_they_are_too_many_or_wrong(core: Core, case: Case) -> None:
    with pytest.raises(TooLargeError, match=str(core.limits.max_rows)):
        core.predict([case.row] * (core.limits.max_rows + 1))
    with pytest.raises(InvalidRowsError):
        core.predict([{"no_such_field": 1}])


@pytest.mark.parametrize("name", ["model.onnx", "schema.json", "reference.json", "golden.json", "limits.json"])
def test_bundle_is_refused_when_a_file_is_changed_or_gone(copy: Path, name: str) -> None:
    path = copy / manifest.ARTIFACT / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BundleError, match=f"{name}.*: changed"):
        Core.load(copy)
    path.unlink()
    with pytest.raises(BundleError, match=f"{name}.*: missing"):
        Core.load(copy)


def test_bundle_is_refused_when_a_golden_answer_differs(copy: Path) -> None:
    golden = json.loads((copy / manifest.ARTIFACT / "golden.json").read_bytes())
    golden[1]["answer"]["probability"] += 1e-9
    rewrite(copy, "golden.json", canonical_json(golden))
    with pytest.raises(BundleError, match="1 of"):
        Core.load(copy)


def test_bundle_is_refused_when_it_has_no_golden_answer(copy: Path) -> None:
    rewrite(copy, "golden.json", b"[]")
    with pytest.raises(BundleError, match=r"golden\.json"):
        Core.load(copy)


def test_bundle_is_refused_when_its_limits_make_no_sense(copy: Path) -> None:
    rewrite(copy, "limits.json", b'{"max_rows": -1}')
    with pytest.raises(BundleError, match="max_rows"):
        Core.load(copy)


def test_bundle_is_refused_when_its_reference_is_another_models(copy: Path) -> None:
    reference = json.loads((copy / manifest.ARTIFACT / "reference.json").read_bytes())
    reference["features"].popitem()
    rewrite(copy, "reference.json", canonical_json(reference))
    with pytest.raises(BundleError, match=r"reference\.json.*features"):
        Core.load(copy)


def test_bundle_is_refused_when_it_has_no_manifest(copy: Path) -> None:
    (copy / manifest.FILE_NAME).unlink()
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Core.load(copy)
