"""`python -m pipelines compare`: what `dvc metrics diff` and `dvc plots diff` tell of two commits, on a page that needs no network."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError
from contract.files import write_atomically
from pipelines import paths

_WORKSPACE = "workspace"  # as DVC calls it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `compare`, and `run`, a function of the options."""
    parser.add_argument("before", nargs="?", default="HEAD", help="a commit of Git, by default HEAD")
    parser.add_argument("after", nargs="?", default=_WORKSPACE, help="another one, by default the workspace")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Write the page.

    Raises:
        ConfigurationError: a commit is unknown, named twice or has no figures, or DVC does not have its curves.
    """
    from ruamel.yaml import YAML

    from pipelines.commands.gates.comparison import page

    before, after = options.before, options.after
    if _commit(before) == _commit(after):
        raise ConfigurationError(f"{before} and {after} are the same commit; name two that differ")
    metrics = {name: _metrics(name) for name in (before, after)}
    drawn = json.loads(_output(sys.executable, "-m", "dvc", "plots", "diff", before, after, "--json"))["data"]
    declared = YAML(typ="safe").load(Path("dvc.yaml"))["plots"]
    plots = {title: plot for entry in declared for title, plot in entry.items()}
    write_atomically(paths.COMPARISON, page.render(metrics, plots, drawn).encode())
    print(f"{before} and {after}: {paths.COMPARISON.resolve()}")
    return 0


def _commit(name: str) -> str:
    """Return the digest of a commit by any of its names, or `workspace`."""
    return name if name == _WORKSPACE else _output("git", "rev-parse", "--verify", f"{name}^{{commit}}").strip()


def _metrics(commit: str) -> dict[str, Any]:
    """Return `metrics.json` of a commit, which Git has, or of the workspace."""
    if commit == _WORKSPACE and not paths.METRICS.is_file():
        raise ConfigurationError(f"{paths.METRICS} is not here; run `dvc repro evaluate` first, or name two commits")
    text = paths.METRICS.read_text() if commit == _WORKSPACE else _output("git", "show", f"{commit}:./{paths.METRICS}")
    found: dict[str, Any] = json.loads(text)
    return found


def _output(*command: str) -> str:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise ConfigurationError(f"`{' '.join(command[-4:])}` failed:\n{done.stderr.strip()}")
    return done.stdout
