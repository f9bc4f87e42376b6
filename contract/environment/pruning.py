"""`python -m contract.environment.pruning ENVIRONMENT`: make a serving environment smaller, and servers in it start faster.

A quarter of the installed bytes serves development only, and no prediction opens it. Files are deleted, never packages, so the environment
still agrees with lock, SBOM and installers. Every build of a serving environment runs it, so that tests run in the same environment as
production.
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
    "httpx/_main.py",  # its command, which imports Pygments
)
# Python runs the lines of such a file when it starts (see `site`), before BentoML's imports.
START = "serving.pth"
# Nearly all objects that the imports make stay, and looking for garbage among them takes a tenth of a server's start. `bentos` turns the
# collector on again as soon as it has loaded.
_NO_COLLECTOR = 'import gc, sys; {"serve", "bentos.worker"} & {*sys.orig_argv[2:4]} and gc.disable()\n'
# Modules that BentoML imports before it serves, for templates of images, web sockets of its cloud, source text in colour, and the number of
# GPUs: another tenth. One empty module stands in for all. Every name in it is `int`, and since `int()` is 0, pynvml counts no GPU.
_STAND_INS = ("jinja2", "jinja2.loaders", "jinja2.sandbox", "httpx_ws", "rich.syntax", "pynvml")
_NO_UNUSED = (
    'import sys; unused = type(sys)("unused"); unused.__getattr__ = lambda _: int; '
    f'"serve" in sys.orig_argv[2:4] and sys.modules.update(dict.fromkeys({_STAND_INS!r}, unused))\n'
)


def prune(environment: Path) -> None:
    """Delete the files that match `UNUSED`, and write `START`; a second run changes nothing."""
    for packages in environment.glob("lib/python3*/site-packages"):
        for pattern in UNUSED:
            for path in sorted(packages.glob(pattern)):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        (packages / START).write_text(_NO_COLLECTOR + _NO_UNUSED)


if __name__ == "__main__":
    prune(Path(sys.argv[1]))
