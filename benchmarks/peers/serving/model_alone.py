"""The limit for any server of this model here: its encoded rows, scored in process.

python -m benchmarks.peers.serving.model_alone BUNDLE SECONDS < rows.json      (in the serving environment; prints one JSON object)

Repeated rows are no fair measure: once the processor's branch predictor has learned them, scoring takes a third of the time. So the rows
scored 64 at once do not repeat; they are read from standard input.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

from contract.bundle import manifest
from contract.model.encoder import Encoder
from contract.model.predictor import Predictor
from contract.model.row_program import Row
from harness import processes

BATCH = 64


def rate(predictor: Predictor, matrices: list[Any], seconds: float) -> float:
    """Return rows per CPU second, over these matrices in turn."""
    turn = cycle(matrices)
    rows = 0
    started = time.process_time()
    while time.process_time() - started < seconds:
        for _ in range(50):
            matrix = next(turn)
            predictor.score_matrix(matrix)
            rows += len(matrix)
    return rows / (time.process_time() - started)


def main(bundle: Path, seconds: float, rows: list[Row]) -> dict[str, float]:
    """Return `one` and `many`: rows per CPU second, golden ones alone and `rows` 64 at once; and `resident_mb` of this process."""
    processes.pin(processes.SERVER_CORE)
    artifact = bundle / manifest.ARTIFACT
    predictor = Predictor.load(artifact)
    golden = json.loads((artifact / manifest.GOLDEN_FILE_NAME).read_bytes())
    encoder = Encoder(predictor.schema)
    matrix, _ = encoder.encode_rows([case["row"] for case in golden])
    singles = [matrix[index : index + 1] for index in range(len(matrix))]
    matrix, _ = encoder.encode_rows(rows)
    batches = [matrix[first : first + BATCH] for first in range(0, len(rows), BATCH)]
    rates = {"one": rate(predictor, singles, seconds), "many": rate(predictor, batches, seconds)}
    return rates | {"resident_mb": processes.resident_bytes(os.getpid()) / 1e6}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), float(sys.argv[2]), json.load(sys.stdin))))
