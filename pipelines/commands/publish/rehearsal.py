"""The rehearsal of a bundle before it is published: in an environment of its own lock, sandboxed, within its budgets."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.bundle import manifest
from contract.environment import environments, limits, sandbox
from contract.errors import BundleError, Problem
from contract.files import tree_bytes
from pipelines.machine import scratch
from pipelines.params.serving import Budget

_LIMIT_S = 300
_HOSTS = Path("/etc/hosts")  # BentoML asks for the address of localhost


def rehearse(bundle: Path, budget: Budget, var: Path) -> dict[str, Any]:
    """Serve a copy of the bundle, send golden and malformed requests over HTTP and gRPC, and measure it.

    Args:
        var: directory of environments and scratch space.

    Returns:
        The result of `bentos.rehearsal`, with `environment_mb`, `sandboxed`, and `sandbox_problem` without a sandbox.

    Raises:
        BundleError: it does not start, an answer is wrong, or a budget is exceeded; it names each problem.
    """
    claims = manifest.verify(bundle)
    environment = claims.environment
    python = environments.python_for(bundle / environment["lock"], environment["lock_sha256"], var / "environments")
    with scratch.directory(var / "scratch") as place:
        copy = place / "bundle"
        shutil.copytree(bundle, copy)
        prefix, problem = _sandbox(python, copy)
        command = [str(python), "-m", "bentos.rehearsal", str(copy), str(budget.ready_s)]
        found = _run([*prefix, *command], copy, Path(sandbox.SCRATCH) if prefix else place)
    found |= {
        "environment_mb": round(tree_bytes(python.parents[1]) / 1e6, 1),
        "sandboxed": bool(prefix),
        "sandbox_problem": problem,
    }
    problems = [Problem(None, None, text) for text in found["wrong"]]
    for name, limit in budget.model_dump().items():
        if found.get(name, 0) > limit:
            problems.append(Problem(None, f"serving.budget.{name}", f"measured {found[name]:g}, allowed {limit:g}"))
    if problems:
        raise BundleError("the bundle failed its rehearsal and is not published", problems)
    return found


def describe(found: dict[str, Any]) -> str:
    """Return the result of `rehearse` in one line."""
    asked = found["asked"]
    where = "in a sandbox" if found["sandboxed"] else f"WITHOUT A SANDBOX ({found['sandbox_problem']})"
    return (
        f"rehearsed {where}: ready after {found['ready_s']:.1f} s, "
        f"{asked['http']} golden answers over HTTP and {asked['grpc']} over gRPC correct, {asked['malformed']} malformed requests "
        f"refused; p99 {found['p99_ms']:.2f} ms, {found['memory_mb']:.0f} MB, environment {found['environment_mb']:.0f} MB"
    )


def _run(command: Sequence[str], copy: Path, home: Path) -> dict[str, Any]:
    variables = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "BENTOML_HOME": str(home),
        "PYTHONPATH": str(copy / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            command,
            cwd=copy.parent,
            env=variables,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
            preexec_fn=limits.limit,
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"the bundle's rehearsal did not end within {_LIMIT_S} s") from error
    except (ValueError, IndexError) as error:
        raise BundleError(f"the bundle's rehearsal crashed:\n{done.stderr[-2000:]}") from error
    return found


def _sandbox(python: Path, bundle: Path) -> tuple[list[str], str]:
    """Return the command prefix of a sandbox without a network, and ""; or an empty prefix, and the reason.

    The server runs as this user: the bundle comes from here. Who is not root makes the namespaces as one of a user namespace.
    """
    bubblewrap, lacking = sandbox.bubblewrap()
    if lacking:
        return [], lacking
    options = sandbox.options(python, [bundle, *filter(Path.exists, [_HOSTS])], name="rehearsal")
    prefix = [bubblewrap, *options, "--unshare-user-try", "--new-session", *sandbox.SEALED]
    problem = sandbox.problem_of([*prefix, str(python), "-c", "pass"])
    return ([], problem) if problem else (prefix, "")
