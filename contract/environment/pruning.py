"""`python -m contract.environment.pruning ENVIRONMENT`: delete from a serving environment the files that no prediction ever opens.

A quarter of what the lock installs is there to develop with. Only files go, never a package: what the lock, the SBOM and the
installers know stays as it is. Run by whatever builds a serving environment, so that tests run in what production runs in.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# Patterns below site-packages.
UNUSED = (
    "onnxruntime/capi/libonnxruntime.so*",  # for programs in C; Python's own module holds all of it a second time
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "numpy/_core/include",
    "numpy/distutils",
    "numpy/f2py",
    "numpy/random",
    "numpy/testing",
    "*/**/test",
    "*/**/tests",
    "*/**/*.p[xy][dx]",  # sources for Cython
    "*/**/*.[ach]",  # and for C
)


def prune(environment: Path) -> None:
    """Delete what `UNUSED` names; again does nothing."""
    for packages in environment.glob("lib/python3*/site-packages"):
        for pattern in UNUSED:
            for path in sorted(packages.glob(pattern)):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


if __name__ == "__main__":
    prune(Path(sys.argv[1]))
