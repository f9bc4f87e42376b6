"""`python -m pipelines predict` on ten million flights beside the model alone, on as many threads, on rows that are encoded already."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from numpy.typing import NDArray

from benchmarks.results import Bar, Figure, OtherWorkError, figure
from contract.bundle import manifest, signature
from contract.model.predictor import Predictor
from harness import PROJECT, workspaces
from harness.bundles import Bundle
from harness.workspaces import HOME

ROWS = 10_000_000
_PART_ROWS = 500_000
_BATCH_ROWS = 65_536  # of the model alone
_SAMPLE_ROWS = 1_000_000  # its rate does not depend on the number of rows
_MOST_MB = 1_000
_IDS = ("flight", "tailnum")
# A process begins with the peak of the one that started it, and this one holds the encoded rows; one between the two is small.
_PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(code)
"""


def predict(bundle: Bundle, rows: int = ROWS) -> list[Figure]:
    """Measure the whole command, its start included, and before and after it the model alone."""
    place = HOME / "predict"
    shutil.rmtree(place, ignore_errors=True)
    try:
        first = _write_table(bundle, place / "table", rows)
        threads = len(os.sched_getaffinity(0))
        predictors = [Predictor.load(bundle.path / manifest.ARTIFACT) for _ in range(threads)]
        matrix = _encoded(predictors[0], first)
        before, scores = _alone(predictors, matrix)
        cost, said = workspaces.timed(
            ["python", "-c", _PEAK, *_command(bundle, place)], cwd=PROJECT, env=_environment(place)
        )
        after, _ = _alone(predictors, matrix)
        _check(place / "scores.parquet", rows, scores)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return [
        figure(
            "predict",
            rows / cost.wall_s,
            "rows/s",
            peer=f"the model alone, {threads} threads",
            peer_value=2 / (1 / before + 1 / after),
            benchmark="predict",
            bar=Bar("≥", 0.7),
        ),
        figure(
            "predict_memory",
            float(said.splitlines()[-1]),
            "MB",
            peer="allowed",
            peer_value=_MOST_MB,
            benchmark="predict",
            bar=Bar("≤", 1),
        ),
    ]


def _write_table(bundle: Bundle, directory: Path, rows: int) -> pl.DataFrame:
    """Write the table in parts; return its first rows.

    The schedules of flights, drawn at random, stand beside the weather and the history of others, so that no row comes twice and every
    value is a real one: repeated rows are scored in a third of the time.
    """
    workspace = bundle.path.parents[1]
    months = sorted(path.name for path in (workspace / "data/accepted").glob("*.parquet"))
    flights = pl.concat(pl.read_parquet(workspace / "data/accepted" / month) for month in months)
    history = pl.concat(pl.read_parquet(workspace / "data/features/history" / month) for month in months)
    weather = flights.select(
        name for name in flights.columns if name in ("temp", "dewp", "humid", "pressure", "visib") or "wind" in name
    )
    schedule = flights.select(name for name in flights.columns if name not in weather.columns)
    directory.mkdir(parents=True)
    random, parts = np.random.default_rng(1), []
    for first in range(0, rows, _PART_ROWS):
        drawn = [random.integers(0, flights.height, min(_PART_ROWS, rows - first)) for _ in range(3)]
        part = pl.concat(
            [table[which] for table, which in zip((schedule, weather, history), drawn, strict=True)], how="horizontal"
        )
        part.write_parquet(directory / f"{first:09}.parquet")
        if first < _SAMPLE_ROWS:
            parts.append(part)
    return pl.concat(parts)


def _encoded(predictor: Predictor, table: pl.DataFrame) -> NDArray[np.float32]:
    names = [field.name for field in predictor.schema.fields]
    batches = table.select(names).iter_slices(_BATCH_ROWS)
    return np.concatenate([predictor.encoder.encode_table(batch.to_dict(as_series=False)) for batch in batches])


def _alone(predictors: list[Predictor], matrix: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    """Return rows per second of the model, and the scores."""

    def share(number: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Score every so manieth batch."""
        for first in range(number * _BATCH_ROWS, len(matrix), len(predictors) * _BATCH_ROWS):
            yield first, predictors[number].score_matrix(matrix[first : first + _BATCH_ROWS])

    with ThreadPoolExecutor(len(predictors)) as pool:
        started = time.perf_counter()
        found = list(pool.map(lambda number: list(share(number)), range(len(predictors))))
        seconds = time.perf_counter() - started
    batches = dict(batch for batches in found for batch in batches)
    return len(matrix) / seconds, np.concatenate([batches[first] for first in sorted(batches)])


def _command(bundle: Bundle, place: Path) -> list[str]:
    """Sign a copy of the bundle; return the command that scores the table with it."""
    key, pem = ec.generate_private_key(ec.SECP256R1()), serialization.Encoding.PEM
    shutil.copytree(bundle.path, place / "bundle")
    form = serialization.PrivateFormat.PKCS8
    (place / "bundle" / signature.FILE_NAME).unlink(missing_ok=True)
    signature.sign(place / "bundle", key.private_bytes(pem, form, serialization.NoEncryption()))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    (place / "key.pem").write_bytes(key.public_key().public_bytes(pem, public))
    out = str(place / "scores.parquet")
    command = ["python", "-m", "pipelines", "predict", str(place / "table"), out, "--bundle", str(place / "bundle")]
    return [*command, "--keep", ",".join(_IDS)]


def _environment(place: Path) -> dict[str, str]:
    return workspaces.environment() | {
        "BULKHEAD_VERIFY_KEY": str(place / "key.pem"),
        "BULKHEAD_VAR": str(place / "var"),
    }


def _check(out: Path, rows: int, scores: NDArray[np.float32]) -> None:
    """Raise OtherWorkError unless every row is there, and the first have the scores of the model alone."""
    found = pl.scan_parquet(out)
    if found.select(pl.len()).collect().item() != rows:
        raise OtherWorkError(f"{out} has not {rows:,} rows")
    first = found.head(len(scores)).collect()
    column = next(name for name in first.columns if name in ("__probability__", "__value__"))
    if not np.array_equal(first[column].to_numpy(), scores.astype(np.float64)):
        raise OtherWorkError("the scores are not those of the model alone")
