"""A table scored by `python -m pipelines predict` beside a real server that is asked the same rows, one by one: equal, bit for bit."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from contextlib import chdir
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from drills.answers import one_answer, raw_rows
from harness import PROJECT, servers
from harness.bundles import Bundle
from pipelines import paths
from pipelines.params.params import Params
from tests.functional.bundles.predict import signing

ROWS = 400
# By task: the kind of source that it comes from, and the target.
TASKS = {
    "binary": ("csv", {"task": "binary", "labels": ["no", "yes"]}),
    "regression": ("parquet", {"task": "regression"}),
    "multiclass": ("sql", {"task": "multiclass", "labels": ["low", "middle", "high"]}),
}
# Values of the rows that no training row has.
UNKNOWN = {"Shop Name": "a new shop", "code": None}


@pytest.mark.parametrize("task", TASKS)
def test_table_has_the_answers_of_the_endpoint_bit_for_bit(task: str, template: Path, tmp_path: Path) -> None:
    source, target = TASKS[task]
    bundle = _bundle(task, source, target, template, tmp_path)
    rows = [row | (UNKNOWN if at % 7 == 0 else {}) for at, row in enumerate(raw_rows.drawn(source, ROWS, 2))]
    (tmp_path / "rows.sqlite").unlink(missing_ok=True)
    raw_rows.write(source, rows, tmp_path)
    out = tmp_path / f"out.{'csv' if source == 'csv' else 'parquet'}"
    said = _predict(bundle, _declared(source, tmp_path), out, tmp_path, "--keep", "order")
    answered, refused = _asked(bundle, raw_rows.read_back(source, rows), tmp_path)
    assert json.loads(said.splitlines()[-1])["facts"]["rows"] == len(answered)
    assert len(answered) > ROWS * 0.9
    assert len(refused) >= 2
    assert any("fallbacks" in answer for answer in answered.values())
    found = {row.pop("order"): _answer(row, task) for row in _table(out)}
    assert found == answered
    aside = {row["order"]: json.loads(row["__reasons__"]) for row in _table(out.with_stem("out.refused"))}
    assert aside == refused
    assert [row["__row__"] for row in _table(out)] == [at for at, row in enumerate(rows) if row["order"] in answered]


def _bundle(task: str, source: str, target: dict[str, Any], template: Path, place: Path) -> Path:
    """Return a signed bundle of a model that is trained on rows of the source, with another target."""
    rows = raw_rows.drawn(source, ROWS, 1)
    for at, row in enumerate(rows):
        number = at * 7 % 30 + (10 if row["outcome"] == "yes" else 0)
        row["outcome"] = {
            "binary": row["outcome"],
            "regression": str(number),
            "multiclass": ["low", "middle", "high"][number % 3],
        }[task]
    raw_rows.write(source, rows, place)
    declared = raw_rows.declared(source, ROWS)
    with chdir(place):
        one_answer.learn(Params.model_validate(declared | {"target": {"column": "outcome", **target}}))
    one_answer.make_bundle(place / paths.BOOSTED, template, place / "made")
    signing.sign(place / "made", place / "key.pem")
    return place / "made"


def _declared(source: str, place: Path) -> Path:
    """Return the table to score: a Parquet file by itself, the others as `data.source` declares them."""
    if source == "parquet":
        return place / "rows.parquet"
    declared = raw_rows.declared(source, ROWS)
    (place / "source.json.yaml").write_text(json.dumps(declared))
    return place / "source.json.yaml"


def _predict(bundle: Path, table: Path, out: Path, place: Path, *more: str) -> str:
    command = [
        sys.executable,
        "-m",
        "pipelines",
        "predict",
        str(table),
        str(out),
        "--bundle",
        str(bundle),
        "--json",
        *more,
    ]
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT),
        "BULKHEAD_VERIFY_KEY": str(place / "key.pem"),
        "BULKHEAD_VAR": str(place / "var"),
        "BULKHEAD_TRAINING_WEIGHT": "none",
    }
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _asked(bundle: Path, rows: list[dict[str, Any]], place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the server's answers and the problems of its refusals, by order."""
    answered, refused = {}, {}
    (place / "server").mkdir()
    with servers.ours(Bundle(bundle), place / "server") as server:
        connection = HTTPConnection("127.0.0.1", server.port)
        for row in rows:
            request = {
                name: one_answer.sendable(value) for name, value in row.items() if name not in ("order", "outcome")
            }
            connection.request(
                "POST", "/predict", json.dumps({"rows": [request]}), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            body = json.loads(response.read())
            if response.status == 200:
                answered[row["order"]] = body["predictions"][0] | {"version": body["model"]["version"]}
            else:
                refused[row["order"]] = [
                    {"field": each["field"], "problem": each["problem"]} for each in body["error"]["details"]
                ]
        connection.close()
    return answered, refused


def _table(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    with path.open(newline="") as stream:
        rows = [{name: value or None for name, value in row.items()} for row in csv.DictReader(stream)]
    return [row | {"__row__": int(row["__row__"] or "")} for row in rows]


def _answer(row: dict[str, Any], task: str) -> dict[str, Any]:
    """Return a row of the output in the form of the endpoint's answer."""
    chances = {
        name.partition(":")[2]: float(value) for name, value in row.items() if name.startswith("__probability__")
    }
    answer: dict[str, Any] = {"version": row["__model__"]}
    if task == "regression":
        answer["value"] = row["__value__"]
    else:
        answer["label"] = row["__predicted_label__"]
        answer |= {"probability": chances[""]} if task == "binary" else {"probabilities": chances}
    return answer | ({"fallbacks": json.loads(row["__fallbacks__"])} if row["__fallbacks__"] else {})
