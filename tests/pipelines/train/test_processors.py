"""The stages give the same bytes on every processor."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from harness import PROJECT

KERNELS = ("ARMV8", "NEOVERSEN1") if platform.machine() in ("aarch64", "arm64") else ("Prescott", "Haswell")
WIDE = "X86_V4 AVX512_ICL AVX512_SPR"  # what NumPy has its own code for, where the processor has it


def _outputs(directory: Path, **processor: str) -> tuple[dict[str, bytes], str]:
    environment = os.environ | processor | {"PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])}
    command = [sys.executable, "-m", "tests.pipelines.train.another_processor", str(directory)]
    printed = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}, printed


def test_stages_give_the_same_bytes_when_blas_and_numpy_take_another_processors_code(tmp_path: Path) -> None:
    first, kernels = _outputs(tmp_path / "first", OPENBLAS_CORETYPE=KERNELS[0], NPY_DISABLE_CPU_FEATURES=WIDE)
    second, others = _outputs(tmp_path / "second", OPENBLAS_CORETYPE=KERNELS[1])
    if kernels == others:
        pytest.skip(f"this BLAS library takes no other kernel when asked: {kernels.strip()}")
    assert sum(name.endswith("metrics.json") for name in first) == 3
    assert sum(name.endswith("linear/model.onnx") for name in first) == 3
    assert sum(name.startswith("hard/") for name in first) == 3
    assert first.keys() == second.keys()
    assert [name for name, content in first.items() if content != second[name]] == []
