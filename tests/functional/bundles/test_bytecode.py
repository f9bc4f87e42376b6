from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from harness import PROJECT

COMPILE = (
    "from pathlib import Path; from pipelines.stages.bundle.bento import compile_modules; compile_modules(Path('src'))"
)


def bytecode(directory: Path, program: str) -> dict[str, bytes]:
    for package in ("bentos", "contract"):
        shutil.copytree(PROJECT / package, directory / "src" / package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-c", program], cwd=directory, env={"PYTHONPATH": str(PROJECT)}, check=True)
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in (directory / "src").rglob("*.pyc")}


def test_bytecode_is_the_same_wherever_it_is_compiled_and_whatever_is_loaded(tmp_path: Path) -> None:
    plain = bytecode(tmp_path / "plain", COMPILE)
    assert len(plain) > 100
    # The names and constants of these modules are objects that the bytecode of ours could refer to.
    assert bytecode(tmp_path / "another place", f"import asyncio, typing, numpy, polars; {COMPILE}") == plain
