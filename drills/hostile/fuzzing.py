"""The drill of the fuzzers: properties of a replica by hypothesis, and parsers of callers' bytes by coverage-guided fuzzing."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from drills.hostile import options
from drills.results import Result
from harness import PROJECT, interpreter, servers
from harness.bundles import Bundle

ATHERIS = PROJECT / ".venv/fuzz"
RUNS = {"json": 200_000, "tensors": 200_000, "predict": 200_000, "infer": 100_000, "http": 100_000, "grpc": 100_000}
_EXAMPLES = 2000
_GROWTH_LIMIT = 1.1  # of memory, after a tenth of the requests and after all


def fuzz(bundle: Bundle, seed: int) -> list[Result]:
    """Run the fuzzers; return one result for each property and target, and one for the replica's memory."""
    with tempfile.TemporaryDirectory() as scratch, servers.ours(bundle, Path(scratch)) as server:
        found = _properties(bundle, server, seed)
    for name, failure in found["failed"].items():
        print(f"  {name}: {failure}")
    results = []
    for name, sent in found["requests"].items():
        failed = name in found["failed"]
        results.append(
            Result(0, name.replace("_", " "), f"{_EXAMPLES} examples", sent, int(failed), "for each", not failed)
        )
    results.append(_memory("memory of the replica", sum(found["requests"].values()), found))
    if (ATHERIS / "atheris").is_dir():
        return results + [_target(bundle, name, runs, seed) for name, runs in RUNS.items()]
    print(f"  no atheris in {ATHERIS}, so the targets are skipped: it has wheels for Linux on x86-64 alone")
    return results


def _properties(bundle: Bundle, server: servers.Server, seed: int) -> dict[str, Any]:
    command = [*options.command("drills.hostile.properties", bundle, server, seed), "--examples", str(_EXAMPLES)]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run_target(bundle: Path, name: str, runs: int, seed: int = 1) -> subprocess.CompletedProcess[str]:
    """Run `drills.hostile.targets` in the serving environment."""
    environment = servers.clean_environment() | {"PYTHONPATH": os.pathsep.join((str(ATHERIS), str(PROJECT)))}
    command = [str(interpreter("serving")), "-m", "drills.hostile.targets", str(bundle), name, str(runs), str(seed)]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


def _target(bundle: Bundle, name: str, runs: int, seed: int) -> Result:
    done = run_target(bundle.path, name, runs, seed)
    if done.returncode:
        print(f"  {name}: {done.stderr[-3000:]}")
        return Result(0, f"bytes to {name}", "guided by coverage", runs, 1, "each run holds", holds=False)
    return _memory(f"bytes to {name}", runs, json.loads(done.stdout))


def _memory(name: str, requests: int, found: dict[str, Any]) -> Result:
    warm, end = found["warm_mb"], found["end_mb"]
    invariant = f"memory grows by 10 % at most after the first tenth: {warm:.0f} MB, then {end:.0f} MB"
    return Result(0, name, "by hypothesis and atheris", requests, 0, invariant, end <= warm * _GROWTH_LIMIT)
