from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from contract.environment.pruning import START, prune

PACKAGES = Path("lib/python3.11/site-packages")


def files(environment: Path) -> set[str]:
    root = environment / PACKAGES
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_only_what_nothing_imports_is_deleted(tmp_path: Path) -> None:
    kept = {
        "onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so",
        "onnxruntime/capi/libonnxruntime_providers_shared.so",
        "numpy/__init__.py",
        "numpy/__init__.pyi",
        "numpy/_core/multiarray.py",
        "httpx/__init__.py",
        "jinja2/tests.py",
        "jinja2-3.1.6.dist-info/METADATA",
        "tests/__init__.py",
    }
    unused = {
        "onnxruntime/capi/libonnxruntime.so.1.32.0",
        "httpx/_main.py",
        "onnxruntime/tools/file_utils.py",
        "numpy/_core/include/numpy/ndarraytypes.h",
        "numpy/_core/tests/test_umath.py",
        "numpy/_core/tests/__pycache__/test_umath.cpython-311.pyc",
        "tornado/test/web_test.py",
        "uvloop/handles/stream.pyx",
    }
    for name in kept | unused:
        path = tmp_path / PACKAGES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    prune(tmp_path)
    assert files(tmp_path) == kept | {START}
    prune(tmp_path)
    assert files(tmp_path) == kept | {START}


@pytest.mark.parametrize(
    ("arguments", "collects", "is_whole"),
    [
        (("-m", "bentoml", "serve", "."), False, False),
        (("bin/bentoml", "serve", "."), False, False),
        (("-m", "bentos.worker", "."), False, True),
        (("-m", "bentoml", "build", "."), True, True),
        (("-m", "bentos.rehearsal", "."), True, True),
        (("-c", "pass"), True, True),
    ],
)
def test_only_a_server_starts_without_the_garbage_collector_and_without_what_it_does_not_use(
    arguments: tuple[str, ...], collects: bool, is_whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / PACKAGES).mkdir(parents=True)
    prune(tmp_path)
    monkeypatch.setattr(sys, "orig_argv", ["python", *arguments])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    try:
        exec((tmp_path / PACKAGES / START).read_text(), {})  # as Python does at its start
        assert gc.isenabled() == collects
        pynvml = sys.modules.get("pynvml")
        assert pynvml is None if is_whole else pynvml.nvmlDeviceGetCount() == 0
    finally:
        gc.enable()
