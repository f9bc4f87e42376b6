"""A base image made of this machine's own Python: where there is no registry, and the same wheels fit as in the environment."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from contract.model.runtime import onnxruntime

_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
_SHELL = Path("/bin/sh")
_IGNORED = shutil.ignore_patterns("site-packages", "dist-packages", "test", "idlelib", "tkinter", "config-*", "*.a")
_DIRECTIVES = """\
FROM scratch
COPY . /
ENV PATH={path}:/usr/bin:/bin
"""


def write(context: Path, pip: Path) -> None:
    """Lay out the context from which the image is built: Python, pip, a shell, the libraries of all that, and a Containerfile.

    Args:
        pip: the directory of the package pip.
    """
    python = Path(sys.executable).resolve()
    shutil.copytree(_STANDARD_LIBRARY, _inside(context, _STANDARD_LIBRARY), ignore=_IGNORED)
    shutil.copytree(pip, _inside(context, _STANDARD_LIBRARY) / "pip")
    runtime = Path(onnxruntime.__file__).parent.glob("capi/*.so")
    for path in (python, _SHELL, *_libraries([python, _SHELL, *runtime, *_STANDARD_LIBRARY.glob("lib-dynload/*.so")])):
        _inside(context, path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, _inside(context, path))
    (_inside(context, python).parent / "python3").symlink_to(python.name)
    (context / "tmp").mkdir()
    (context / "tmp").chmod(0o1777)
    (context / "Containerfile").write_text(_DIRECTIVES.format(path=python.parent))


def _inside(context: Path, path: Path) -> Path:
    return context / path.relative_to("/")


def _libraries(programs: Iterable[Path]) -> set[Path]:
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    return {Path(name) for name in re.findall(r"(?<=\s)/\S+(?= \(0x)", listed)}
