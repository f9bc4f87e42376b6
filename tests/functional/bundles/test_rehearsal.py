"""Before a bundle is published it is served once, locked away: what does not answer right, or costs too much, is not published."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contract.bundle import manifest
from contract.errors import BundleError
from contract.files import canonical_json
from harness import PROJECT
from pipelines.commands.publish import rehearsal
from pipelines.params.serving import Budget
from tests.functional.commands import run


@pytest.fixture
def bundle(project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(project / "build" / "bundle", tmp_path / "bundle"))


def _rehearse(bundle: Path, **budget: float) -> dict[str, object]:
    return rehearsal.rehearse(bundle, Budget(**budget), bundle.parent / "var")


def _claim(bundle: Path) -> None:
    claims = replace(manifest.read(bundle), files=manifest.tree_digests(bundle))
    (bundle / manifest.FILE_NAME).write_bytes(claims.to_bytes())


def test_sound_bundle_is_asked_everything_over_both_protocols(bundle: Path) -> None:
    before = manifest.tree_digests(bundle)
    found = _rehearse(bundle)
    assert (found["wrong"], found["asked"]) == ([], {"http": 32, "grpc": 32, "malformed": 8})
    assert manifest.tree_digests(bundle) == before
    golden = json.loads((bundle / manifest.ARTIFACT / manifest.GOLDEN_FILE_NAME).read_bytes())
    problems = {taken["problem"] for case in golden for taken in case["answer"].get("fallbacks", ())}
    assert {"missing", "unknown category"} <= problems  # what is asked is not only what is easy


def test_each_budget_is_named_when_it_is_exceeded(bundle: Path) -> None:
    with pytest.raises(BundleError) as caught:
        _rehearse(bundle, p99_ms=0.001, memory_mb=10, environment_mb=10)
    named = {problem.field for problem in caught.value.problems}
    assert named == {f"serving.budget.{name}" for name in ("p99_ms", "memory_mb", "environment_mb")}
    with pytest.raises(BundleError, match=r"it is not ready within 0\.1 s"):
        _rehearse(bundle, ready_s=0.1)


def _other_answer(bundle: Path) -> None:
    path = bundle / manifest.ARTIFACT / manifest.GOLDEN_FILE_NAME
    golden = json.loads(path.read_bytes())
    golden[7]["answer"]["probability"] = 0.123
    path.write_bytes(canonical_json(golden))
    core = bundle / "src" / "bentos" / "core.py"  # its own check of the same at the start is taken out
    core.write_text(core.read_text().replace("predictor.check_golden(", "bool("))


def _server_error(bundle: Path) -> None:
    path = bundle / "src" / "contract" / "model" / "encoder.py"
    path.write_text(
        path.read_text() + "\n\ndef _fail(*_):\n    raise RuntimeError('no')\n\n\nEncoder.encode_rows = _fail\n"
    )
    core = bundle / "src" / "bentos" / "core.py"
    core.write_text(core.read_text().replace("predictor.check_golden(", "bool("))


def _crash(bundle: Path) -> None:
    (bundle / "src" / "bentos" / "protocols" / "http" / "app.py").write_text(
        "raise SystemExit('crashed while loading')\n"
    )


@pytest.mark.parametrize(
    ("change", "ready_s", "reason"),
    [
        (_other_answer, 120, r"golden request 7 over HTTP: answered \{.*\}, not \{.*0\.123.*\}"),
        (_server_error, 120, "golden request 0 over HTTP: answered with 500"),
        (_crash, 120, "(?s)ended while it started; the end of its log:.*crashed while loading"),
    ],
)
def test_bundle_that_answers_otherwise_or_not_at_all_is_refused(
    bundle: Path, change: Callable[[Path], None], ready_s: float, reason: str
) -> None:
    change(bundle)
    _claim(bundle)
    with pytest.raises(BundleError, match=reason):
        _rehearse(bundle, ready_s=ready_s, p99_ms=5000)


def test_a_refused_bundle_is_not_in_the_store(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project, copy, symlinks=True, ignore=shutil.ignore_patterns("pytest*"))
    shutil.rmtree(copy / "store", ignore_errors=True)
    params = copy / "params.yaml"
    params.write_text(params.read_text().replace("serving:\n", "serving:\n  budget: {memory_mb: 5}\n"))
    done = run(copy, "python", "-m", "pipelines", "publish")
    assert done.returncode == 65
    assert "field 'serving.budget.memory_mb': measured" in done.stderr
    assert not (copy / "store" / "bundles").exists()


def _failing_bubblewrap(place: Path) -> None:
    (place / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    (place / "bwrap").chmod(0o755)


def _moved_bubblewrap(place: Path) -> None:
    found = shutil.which("bwrap")
    if not found:
        pytest.skip("bubblewrap is not here")
    (place / "bwrap").symlink_to(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_moved_bubblewrap, "rehearsed in a sandbox: ready after"),
        (_failing_bubblewrap, "rehearsed WITHOUT A SANDBOX (bubblewrap does not work here: bwrap: No permissions"),
        (lambda _: None, "rehearsed WITHOUT A SANDBOX (bubblewrap is not on the PATH; install it"),
    ],
    ids=["elsewhere", "refused", "missing"],
)
def test_it_is_said_whether_there_was_a_sandbox_when_bubblewrap_is(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], said: str
) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    change(place)
    monkeypatch.setenv("PATH", str(place))
    if said.startswith("rehearsed in") and not rehearsal._sandbox(Path(sys.executable), bundle)[0]:
        pytest.skip("bubblewrap does not work here")
    found = _rehearse(bundle, p99_ms=5000)
    assert rehearsal.describe(found).startswith(said)
    assert found["sandboxed"] == (found["sandbox_problem"] == "")


def test_nothing_but_the_bundle_and_the_system_is_seen_in_the_sandbox(bundle: Path) -> None:
    python = Path(sys.executable)
    (bundle.parent / "training.parquet").write_text("raw rows")
    sandbox, problem = rehearsal._sandbox(python, bundle)
    if not sandbox:
        pytest.skip(problem)
    look = (
        "import os, pathlib, socket, sys\n"
        f"bundle = pathlib.Path({str(bundle)!r})\n"
        "assert (bundle / 'manifest.json').is_file() and not os.access(bundle, os.W_OK)\n"
        "assert sorted(path.name for path in bundle.parent.iterdir()) == ['bundle']\n"
        "assert not pathlib.Path('/bin').exists() and set(os.listdir('/etc')) <= {'ld.so.cache', 'localtime', 'hosts'}\n"
        f"assert not pathlib.Path({str(PROJECT)!r}, 'params.yaml').exists()\n"
        "try:\n    socket.create_connection(('192.0.2.1', 80), 1)\n"
        "except OSError as error:\n    assert error.errno == 101, error\n"
    )
    subprocess.run([*sandbox, str(python), "-c", look], check=True)
