"""Training that does not end, in the cgroup of training: `python -m drills.training.endless PROGRESS [--hog MB]`.

Appends a byte to the file PROGRESS for each round of boosting; a hog instead for each time that it has written all of its memory.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from pipelines.machine import cgroups, contained

CGROUP = "bulkhead-drill"  # not the one of other training on this machine, which a drill must not limit
_ROWS, _COLUMNS, _ROUNDS = 20_000, 20, 5


def main(arguments: list[str] | None = None) -> None:
    """Train, or hog memory, until the process is killed."""
    parser = argparse.ArgumentParser(prog="python -m drills.training.endless", description=__doc__.partition("\n")[0])
    parser.add_argument("progress")
    parser.add_argument("--hog", type=int, default=0, metavar="MB")
    asked = parser.parse_args(arguments)
    cgroups.NAME = CGROUP
    contained.enter("train")  # as `python -m pipelines train` does
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    progress = os.open(asked.progress, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    work = _hogging(asked.hog) if asked.hog else _training()
    for done in work:
        os.write(progress, b"." * done)


def _training() -> Iterator[int]:
    import numpy as np
    import xgboost

    random = np.random.default_rng(1)
    features = random.normal(size=(_ROWS, _COLUMNS))
    table = xgboost.DMatrix(features, features[:, 0] > random.normal(size=_ROWS))
    while True:
        xgboost.train({"objective": "binary:logistic"}, table, _ROUNDS)
        yield _ROUNDS


def _hogging(megabytes: int) -> Iterator[int]:
    memory = bytearray(megabytes * 1_000_000)
    page = bytes(1_000_000)
    while True:
        for first in range(0, len(memory), len(page)):
            memory[first : first + len(page)] = page
        yield 1


if __name__ == "__main__":
    main()
