"""`python -m benchmarks [NAME …]`: measure, print a table, write benchmarks/results.json."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable

from benchmarks import results
from benchmarks.fleet import starts
from benchmarks.results import Figure
from benchmarks.serving import formats, half_load, overload, rivals, scaling
from benchmarks.serving import replica as serving
from benchmarks.training import boosting, history, judging, pipeline, predict, scale, search, validation
from contract import command_line
from harness.bundles import find

BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "repro": pipeline.repro,
    "noop": pipeline.noop,
    "airflow": pipeline.airflow,
    "search": search.search,
    "incremental": scale.incremental,
    "scale": scale.scale,
    **boosting.MEMORY,
    "train-checkpoints": boosting.checkpoints,
    "train-contention": boosting.contention,
    "validation": validation.validation,
    "history": history.history,
    "resampling": judging.resampling,
    "judging": judging.judging,
    "predict": lambda: predict.predict(find()),
    "http": lambda: serving.over_http(find()),
    "batch": lambda: serving.batch(find()),
    "grpc": lambda: serving.over_grpc(find()),
    half_load.NAME: lambda: half_load.half_load(find()),
    "overload": lambda: overload.overload(find()),
    "rivals": lambda: rivals.rivals(find()),
    "memory": lambda: serving.memory(find()),
    "ready": lambda: serving.ready(find()),
    "lean": lambda: serving.lean(find()),
    "watching": lambda: serving.watching(find()),
    starts.NAME: lambda: starts.starts(find()),
    scaling.NAME: lambda: scaling.scaling(find()),
    "formats": lambda: formats.formats(find()),
}

_IDLE_LOAD = 0.5


def main(arguments: list[str] | None = None) -> int:
    """Measure the named benchmarks; return 1 if one failed."""
    parser = command_line.parser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(BENCHMARKS)}")
    names = parser.parse_args(arguments).names
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises, so that `finally` clauses end the servers
    if (load := os.getloadavg()[0]) > _IDLE_LOAD:
        print(
            f"this machine is busy (load {load:.1f}): times of both sides will be too long, and their ratio less exact",
            file=sys.stderr,
        )
    figures: list[Figure] = []
    failed = []
    for name in names or BENCHMARKS:
        started = time.perf_counter()
        try:
            measured = BENCHMARKS[name]()
        except Exception:  # noqa: BLE001  # one failed benchmark does not stop the others
            traceback.print_exc()
            failed.append(name)
            continue
        figures += measured
        results.write(figures, keep_others=bool(names))  # after each benchmark, since the run may be interrupted
        print(f"{name}: {len(measured)} figures ({time.perf_counter() - started:.1f} s)", flush=True)
    if figures:
        print(f"\n{results.table(figures)}\n\nwritten to {results.FILE}")
    if failed:
        print(f"\nno figures, for the reasons above: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
