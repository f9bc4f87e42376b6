"""The stage `train` beside plain `xgboost.train` on the same rows and rounds: memory by size, checkpoints, contention."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import Bar, Figure, OtherWorkError, figure
from contract.files import sha256
from harness import PROJECT, workspaces
from harness.workspaces import Cost, Workspace

ROUNDS = 40  # of each pass at every size: few, so that thirty times the flights take minutes
REPEATS = 3
BUSY_LOOPS = 2
# Kinds of matrix of the plain call: the fastest, which the bars are against, and the smallest.
_FASTEST, _SMALLEST = "DMatrix", "QuantileDMatrix"
_BARS = {"internal": {"peak": 0.5, "cpu": 1.1}, "external": {"peak": 0.25, "cpu": 4.0}}
_LARGEST = 30  # copies of the flights: what the bars are for


def memory(name: str, copies: int, forms: Sequence[str], kinds: Sequence[str]) -> list[Figure]:
    """Measure peak memory and CPU time by row of the forms of the quantised table beside kinds of plain matrices, at one size."""
    encoded, figures = _encoded(), []
    peers: dict[str, Cost] = {}
    models = set()
    for form in forms:
        changes = {"memory": form, "max_rounds": ROUNDS, "early_stopping_rounds": ROUNDS}
        workspace = _workspace(f"train-{copies}", encoded, copies, changes)
        ours = _ours(workspace)
        searched, fitted, rows = _work(workspace)
        if searched != ROUNDS:
            raise OtherWorkError(f"the search ended after {searched} rounds, not {ROUNDS}")
        peers = peers or {kind: _plain(workspace, kind, searched, fitted) for kind in kinds}
        for kind, peer in peers.items():
            pairs = {
                "peak": (ours.peak_mb, peer.peak_mb, "MB"),
                "cpu": (ours.cpu_s / rows * 1e6, peer.cpu_s / rows * 1e6, "CPU µs a row"),
            }
            for measure, (value, peer_value, unit) in pairs.items():
                is_held = copies == _LARGEST and kind == _FASTEST
                bar = Bar("≤", _BARS[form][measure]) if is_held else None
                measured = f"train_{form}_{copies}x_{measure}_over_{kind}"
                figures.append(_figure(measured, value, unit, kind, peer_value, name, bar))
        models.add(sha256(workspace.path / "models/boosted/model.ubj"))
        shutil.rmtree(workspace.path / "data")
    if len(models) > 1:
        raise OtherWorkError(f"{' and '.join(forms)} gave different models")
    return figures


def _parts() -> dict[str, Callable[[], list[Figure]]]:
    """Return the benchmarks of memory, each of which takes a few minutes."""
    both = tuple(_BARS), (_FASTEST, _SMALLEST)
    asked = {
        "train-memory-1x": (1, *both),
        "train-memory-10x": (10, *both),
        "train-memory-30x": (_LARGEST, ("internal",), (_FASTEST, _SMALLEST)),
        "train-memory-30x-external": (_LARGEST, ("external",), (_FASTEST,)),
    }
    return {name: partial(memory, name, *part) for name, part in asked.items()}


MEMORY = _parts()


def checkpoints() -> list[Figure]:
    """Measure the CPU time of the stage on the flights, checkpoints written, beside the calls that it stands for."""
    workspace = _workspace("train-checkpoints", _encoded(), 1, {})
    ours: list[float] = []
    peers: dict[str, list[float]] = {_FASTEST: [], _SMALLEST: []}
    for _ in range(REPEATS):
        ours.append(_ours(workspace).cpu_s)
        searched, fitted, _ = _work(workspace)
        for kind, plain in peers.items():
            plain.append(_plain(workspace, kind, searched, fitted).cpu_s)
    bars = {_FASTEST: Bar("≤", 1.12), _SMALLEST: None}
    return [
        _figure(
            f"train_checkpoints_over_{kind}",
            median(ours),
            "CPU s",
            kind,
            median(plain),
            "train-checkpoints",
            bars[kind],
        )
        for kind, plain in peers.items()
    ]


def contention() -> list[Figure]:
    """Measure the wall time of the stage beside two busy loops, and alone."""
    workspace = _workspace("train-contention", _encoded(), 1, {})
    quiet = median([_ours(workspace).wall_s for _ in range(REPEATS)])
    with _busy():
        busy = median([_ours(workspace).wall_s for _ in range(REPEATS)])
    bar = Bar("≤", 2)
    return [figure("train_busy", busy, "s", peer="alone", peer_value=quiet, benchmark="train-contention", bar=bar)]


def _ours(workspace: Workspace) -> Cost:
    """Run the stage from its first round: checkpoints of the run before would spare it all."""
    shutil.rmtree(workspace.path / "var/checkpoints", ignore_errors=True)
    return workspace.run("python", "-m", "pipelines", "train")


def _figure(
    name: str, value: float, unit: str, kind: str, peer_value: float, benchmark: str, bar: Bar | None
) -> Figure:
    return figure(
        name, value, unit, peer=f"plain xgboost.train on a {kind}", peer_value=peer_value, benchmark=benchmark, bar=bar
    )


def _encoded() -> Path:
    """Return `data/features` of the flights."""
    workspace = workspaces.copied("flights")
    workspace.run("dvc", "repro", "features")
    return workspace.path / "data/features"


def _workspace(name: str, encoded: Path, copies: int, train: Mapping[str, Any]) -> Workspace:
    """Return a workspace with copies of the encoded flights, those of each partition one after the other."""
    import polars as pl

    workspace = workspaces.empty(name, {"train": train})
    target = workspace.path / "data/features"
    shutil.copytree(encoded, target)
    for path in sorted((target / "train").glob("*.parquet")):
        table = pl.read_parquet(path)
        pl.concat([table] * copies).write_parquet(path, compression="zstd", row_group_size=65_536)
    return workspace


def _work(workspace: Workspace) -> tuple[int, int, int]:
    """Return the rounds of the search, those of the fit, and the rows."""
    told = json.loads((workspace.path / "models/training.json").read_bytes())
    curve = (workspace.path / "reports/training/plots/metrics/validation_loss.tsv").read_text()
    return len(curve.splitlines()) - 1, told["rounds"], told["rows"]


def _plain(workspace: Workspace, kind: str, searched: int, fitted: int) -> Cost:
    script = PROJECT / "benchmarks/peers/pipeline/plain_xgboost.py"
    return workspace.run("python", str(script), kind, str(searched), str(fitted))


@contextmanager
def _busy() -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY_LOOPS)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
