"""The bento: built by BentoML, then freed of all that differs between runs."""

from __future__ import annotations

import importlib.util
import marshal
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from contract.errors import BundleError

SERVICE = "bentos.service:Predictor"
LOCK_NAME = "requirements.txt"
_BUILT_AT = "1980-01-01T00:00:00+00:00"  # the real time would change the digest of an unchanged bundle
PACKAGES = ("contract", "bentos")  # the code that serves a bundle
# Flags of a file with bytecode that Python compares with a hash of its source. Source: PEP 552.
_CHECKED_HASH = (0b11).to_bytes(4, "little")
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.proto")


def stage_sources(project: Path, artifact: Path, context: Path) -> None:
    """Copy the sources of the bento into `context`: the two serving packages, the artifact, and the serving lock."""
    for package in PACKAGES:
        shutil.copytree(project / package, context / package, ignore=_IGNORED)
    shutil.copytree(artifact, context / "bundle")
    shutil.copyfile(project / "requirements" / "serving.txt", context / LOCK_NAME)


def build(context: Path, name: str, version: str, target: Path) -> None:
    """Build the sources in `context` into a bento in `target`.

    Raises:
        BundleError: the build failed; with the output of BentoML.
    """
    config = {
        "service": SERVICE,
        "name": name,
        "description": f"{name}: predictions over HTTP and the Open Inference Protocol. See manifest.json.",
        "include": ["contract/**", "bentos/**", "bundle/**", LOCK_NAME],
        "python": {"requirements_txt": f"./{LOCK_NAME}", "lock_packages": False},
    }
    (context / "bentofile.yaml").write_text(yaml.safe_dump(config))
    # A home of its own: the build must not read or fill the user's bento store.
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "bentoml", "build", "--version", version, "--output", "tag", str(context)],
            env=os.environ | {"BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "true", "PYTHONPATH": str(context)},
            cwd=context,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BundleError(f"bentoml build failed:\n{done.stdout}{done.stderr}")
        shutil.copytree(Path(home) / "bentos" / name / version, target)
    _normalise(target)
    compile_modules(target / "src")


def _normalise(bento: Path) -> None:
    path = bento / "bento.yaml"
    description = yaml.safe_load(path.read_text())
    description["creation_time"] = _BUILT_AT
    # A copy of `env/python/requirements.txt`: 200 kB of YAML, which `bentoml serve` would parse twice in 80 ms and never use.
    description["image"]["python_requirements"] = ""
    path.write_text(yaml.safe_dump(description, sort_keys=True))
    for cache in bento.rglob("__pycache__"):
        shutil.rmtree(cache)


def compile_modules(sources: Path) -> None:
    """Add bytecode, which saves a server a quarter of its start; Python compares it with its source, and another version ignores it."""
    for path in sorted(path for package in PACKAGES for path in (sources / package).rglob("*.py")):
        # `bentos/__init__.py` removes the bytecode that Python writes for it, so it has none.
        if path == sources / "bentos" / "__init__.py":
            continue
        source = path.read_bytes()
        name = str(Path(sources.name, path.relative_to(sources)))  # a path of this machine would differ on others
        code = compile(source, name, "exec", dont_inherit=True, optimize=0)
        header = importlib.util.MAGIC_NUMBER + _CHECKED_HASH + importlib.util.source_hash(source)
        compiled = Path(importlib.util.cache_from_source(path))
        compiled.parent.mkdir(exist_ok=True)
        # Later versions of marshal refer to objects by reference counts, which depend on what else this process has loaded.
        compiled.write_bytes(header + marshal.dumps(code, 2))
