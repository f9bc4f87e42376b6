"""`python -m contract.environment.pruning ENVIRONMENT`: delete the files that no prediction opens from a serving environment.

A quarter of the installed bytes serves development only. Files are deleted, never packages, so the environment still agrees with lock,
SBOM and installers. Every build of a serving environment runs it, so that tests run in the same environment as production.
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
    """Delete the files that match `UNUSED`; a second run does nothing."""
    for packages in environment.glob("lib/python3*/site-packages"):
        for pattern in UNUSED:
            for path in sorted(packages.glob(pattern)):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


if __name__ == "__main__":
    prune(Path(sys.argv[1]))
