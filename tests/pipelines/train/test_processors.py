"""The stages give the same bytes on every processor, with any number of threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from harness import PROJECT
from pipelines.params.train import FAMILIES
from tests.pipelines.train.another_processor import CALIBRATIONS, TARGETS, has_avx512

ARM = platform.machine() in ("aarch64", "arm64")
KERNELS = ("ARMV8", "NEOVERSEN1") if ARM else ("Prescott", "SkylakeX" if has_avx512() else "Haswell")
# What libraries have code of their own for, where the processor has it: NumPy, and the C library's mathematical functions.
WIDE = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
FUSED = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F"
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


def _outputs(directory: Path, threads: int, **processor: str) -> tuple[dict[str, bytes], str]:
    pools = dict.fromkeys(POOLS, str(threads))
    environment = os.environ | pools | processor | {"PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])}
    command = [sys.executable, "-m", "tests.pipelines.train.another_processor", str(directory), str(threads)]
    printed = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    # The ledger of looks tells when, and is no output.
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.parent.name != "looks")
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}, printed


def test_stages_give_the_same_bytes_on_another_processor_with_other_threads(tmp_path: Path) -> None:
    narrow = {"OPENBLAS_CORETYPE": KERNELS[0], "NPY_DISABLE_CPU_FEATURES": WIDE, "GLIBC_TUNABLES": FUSED}
    first, kernels = _outputs(tmp_path / "first", 1, **narrow)
    second, others = _outputs(tmp_path / "second", 4, OPENBLAS_CORETYPE=KERNELS[1])
    if kernels == others:
        pytest.skip(f"this BLAS library takes no other kernel when asked: {kernels.strip()}")
    runs = len(TARGETS) + len(FAMILIES) + len(CALIBRATIONS)
    assert sum(name.endswith("metrics.json") for name in first) == runs
    assert sum(name.endswith("linear/model.onnx") for name in first) == runs
    assert sum(name.startswith("hard/") for name in first) == len(TARGETS)
    assert first.keys() == second.keys()
    assert [name for name, content in first.items() if content != second[name]] == []
