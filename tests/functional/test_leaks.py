"""Nothing of a training row crosses the wall: canaries in every column of a table, and a search for them in all that does."""

from __future__ import annotations

import base64
import bz2
import codecs
import gzip
import io
import json
import lzma
import shutil
import struct
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import chdir, closing
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest

from bentos.rehearsal import asking
from bentos.rehearsal.channel import GrpcChannel, RefusedError
from contract.bundle import manifest
from contract.schema.schema import FeatureSchema
from harness import PROJECT, interpreter
from harness.waiting import until
from pipelines import paths
from pipelines.commands.publish import command as publish
from pipelines.models.families import trees
from pipelines.params.params import Params
from pipelines.stages.bundle import stage as bundle
from pipelines.stages.bundle.bento import compile_modules
from pipelines.stages.champion import stage as champion
from pipelines.stages.collect import stage as collect
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.train import stage as train
from pipelines.stages.tune import stage as tune
from pipelines.stages.validate import stage as validate
from tests.bentos.running import Server, start_server
from tests.faults.canaries import Search, draw_numbers, draw_texts

ROWS, RARE = 4000, 1400
MODEL = "accounts"
COLUMNS = {
    "account": {"kind": "identifier"},
    "email": {"kind": "identifier", "pii": True},
    "owner": {"kind": "category", "pii": True},
    "note": {"kind": "category"},
    "agent": {"kind": "category", "required": False, "missing": 0.3},
    "opened": {"kind": "timestamp"},
    "phone": {"kind": "number", "pii": True},
    "amount": {"kind": "number", "minimum": 0, "maximum": 1e7},
    "income": {"kind": "number", "required": False, "missing": 0.1},
    "balance": {"kind": "number"},
}
PARAMS: dict[str, Any] = {
    "name": MODEL,
    "data": {
        "source": {"kind": "files", "path": "accounts.csv", "version": "1", "drop": ["secret"]},
        "months": ["all"],
        "key": ["account"],
        "columns": COLUMNS,
    },
    "target": {"column": "price", "task": "regression"},
    "validate": {"rows": [100, 10_000]},
    "split": {"kind": "stratified", "holdout": 0.2, "validation": 0.2},
    "features": {
        "note": {"transform": "category"},
        "agent": {"transform": "lookup", "input": "agent", "statistic": "mean", "of": "balance"},
        "opened": {"transform": "calendar", "input": "opened", "part": "minute_of_day"},
        "phone": {"transform": "value"},
        "amount": {"transform": "value"},
        "income": {"transform": "log"},
        "balance": {"transform": "value"},
        "share": {"transform": "ratio", "inputs": ["amount", "income"]},
    },
    "train": {
        "seed": 1,
        "max_depth": 6,
        "min_child_weight": 0,
        "max_rounds": 150,
        "early_stopping_rounds": 20,
        "threads": 1,
    },
    "tune": {},
    "evaluate": {"slices": [{"column": "note"}, {"column": "agent"}], "bootstrap": 200},
    "gates": {},
    "serving": {"budget": {"p99_ms": 5000}},  # however busy the machine is
}


def accounts() -> pl.DataFrame:
    """Every value of every column is one of a kind, but for the few common ones of the two categories."""
    draw = np.random.default_rng(17)
    amount = draw_numbers(draw, 1e5, 9e5, ROWS)
    income = draw_numbers(draw, 1e5, 9e5, ROWS)
    noise = np.array(draw_numbers(draw, 1e5, 2e5, ROWS))
    at = [datetime(2026, 1, 1) + timedelta(microseconds=int(after)) for after in draw.integers(0, 9e13, ROWS)]
    price = 3e6 + 1e6 * ((np.array(amount) > 5e5) == (np.array(income) > 5e5)) + noise
    return pl.DataFrame(
        {
            "account": draw_texts(draw, "acc-", ROWS),
            "email": [f"{name}@example.org" for name in draw_texts(draw, "", ROWS)],
            "owner": draw_texts(draw, "own-", ROWS),
            "note": _mostly_common(draw, "not-", ["paid", "open", "late"]),
            "agent": _mostly_common(draw, "age-", ["north desk", "south desk", None]),
            "opened": at,
            "phone": draw_numbers(draw, 4e8, 2e9, ROWS, whole=True),
            "amount": amount,
            "income": income,
            "balance": draw_numbers(draw, 1e5, 9e5, ROWS),
            "secret": draw_texts(draw, "sec-", ROWS),
            "price": price,
        }
    )


def _mostly_common(draw: np.random.Generator, prefix: str, common: list[str | None]) -> list[str | None]:
    values = draw_texts(draw, prefix, RARE) + [common[code] for code in draw.integers(0, len(common), ROWS - RARE)]
    return [values[index] for index in draw.permutation(ROWS)]


TABLE = accounts()
COMMON = {"paid", "open", "late", "north desk", "south desk"}
CANARIES: dict[str, list[Any]] = {
    name: [value for value in TABLE[name].to_list() if value is not None and value not in COMMON]
    for name in TABLE.columns
}
FILLER = bytes(range(256)) * 8
CANARY, NUMBERS = CANARIES["email"][7], CANARIES["amount"][:2]


def _zipped(content: bytes, method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("member", content)
    return stream.getvalue()


def _onnx(*values: Any, kind: int = onnx.TensorProto.FLOAT) -> bytes:
    tensor = onnx.helper.make_tensor("raw", kind, [len(values)], values)
    raw = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), "raw")
    node = onnx.helper.make_node("Constant", [], ["a"], value=raw)
    return bytes(onnx.helper.make_graph([node], "g", [], []).SerializeToString())


def _attributes(name: str, values: list[Any]) -> bytes:
    return bytes(onnx.helper.make_node("Trees", [], [], **{name: values}).SerializeToString())


_TEXT = b"who? " + CANARY.encode() + b", of course"
WRAPPINGS: dict[str, Callable[[], bytes]] = {
    "plain": lambda: _TEXT,
    "JSON": lambda: json.dumps({"a": [CANARY]}).encode(),
    **{f"base64 at {n}": lambda n=n: b'"' + base64.b64encode(b"x" * n + _TEXT) + b'"' for n in range(3)},
    **{f"base64 glued {n}": lambda n=n: b"a" * n + base64.b64encode(_TEXT) for n in range(4)},
    "base64 in lines": lambda: base64.encodebytes(b"some more " * 20 + _TEXT),
    "base64 for URLs": lambda: base64.urlsafe_b64encode(b"\xff\xfe\xfb" + _TEXT),
    "hex": lambda: b"f" + codecs.encode(_TEXT, "hex"),
    "HEX": lambda: codecs.encode(_TEXT, "hex").upper(),
    "UTF-16 LE": lambda: _TEXT.decode().encode("utf-16-le"),
    "UTF-16 BE": lambda: _TEXT.decode().encode("utf-16-be"),
    "gzip": lambda: gzip.compress(_TEXT),
    "zlib": lambda: zlib.compress(_TEXT),
    "bzip2": lambda: bz2.compress(_TEXT),
    "xz": lambda: lzma.compress(_TEXT),
    "zip": lambda: _zipped(_TEXT * 9, zipfile.ZIP_DEFLATED),
    "zip, stored": lambda: _zipped(_TEXT, zipfile.ZIP_STORED),
    "gzip in base64": lambda: base64.b64encode(gzip.compress(_TEXT)),
    "base64 in gzip": lambda: gzip.compress(base64.b64encode(_TEXT)),
    "number as text": lambda: json.dumps([NUMBERS[0]]).encode(),
    "whole number as text": lambda: b"tel:" + str(CANARIES["phone"][3]).encode(),
    "float64": lambda: struct.pack("<dd", *NUMBERS),
    "float32": lambda: struct.pack("<f", NUMBERS[0]),
    "float32 in base64": lambda: base64.b64encode(struct.pack("<4f", 0, *NUMBERS, 0)),
    "int32": lambda: struct.pack("<i", CANARIES["phone"][3]),
    "int64": lambda: struct.pack("<q", CANARIES["phone"][3]),
    "time as text": lambda: CANARIES["opened"][5].isoformat().encode(),
    "time in microseconds": lambda: np.array([CANARIES["opened"][5]], "datetime64[us]").tobytes(),
    "time in nanoseconds": lambda: np.array([CANARIES["opened"][5]], "datetime64[ns]").tobytes(),
    "ONNX, raw tensor": lambda: _onnx(*NUMBERS),
    "ONNX, list of floats": lambda: _attributes("values", [0.5, NUMBERS[0]]),
    "ONNX, list of ints": lambda: _attributes("values", [1, CANARIES["phone"][3]]),
    "ONNX, strings": lambda: _attributes("values", ["a", CANARY]),
}


@pytest.fixture(scope="module")
def search() -> Search:
    return Search(CANARIES)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_search_finds_a_canary_in_every_wrapping(search: Search, wrapping: str, before: int) -> None:
    assert search.columns_in(FILLER + b"\n" * before + WRAPPINGS[wrapping]() + b"\n" + FILLER)


def test_search_finds_nothing_where_nothing_is(search: Search) -> None:
    assert not search.columns_in(FILLER + (PROJECT / "requirements" / "pipeline.txt").read_bytes())
    assert min(len(set(values)) for values in CANARIES.values()) >= 1000


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace in which the table went through every stage, from collect to publish."""
    directory = tmp_path_factory.mktemp("canaries")
    params = Params.model_validate(PARAMS)
    with chdir(directory), pytest.MonkeyPatch.context() as patch:
        patch.setenv("BULKHEAD_STORE", str(directory / "store"))
        shutil.copyfile(PROJECT / "dvc.yaml", "dvc.yaml")
        TABLE.write_csv("accounts.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.6f")
        collect.run(params, "all")
        for stage in (validate, features, screen, tune, train, champion, evaluate, bundle, publish):
            stage.run(params)
        yield directory


@pytest.fixture(scope="module")
def encoded(published: Path) -> Search:
    """A search for what the features make of the values, too; but for the small whole numbers of codes and minutes."""
    table = pl.read_parquet(published / paths.TRAINING_ROWS / "*.parquet")
    learned = {
        f"feature {name}": table[name].unique().to_numpy() for name in ("phone", "amount", "income", "balance", "share")
    }
    return Search(CANARIES | {name: list(values[~np.isnan(values)]) for name, values in learned.items()})


def test_bytecode_of_the_bundle_is_its_sources_alone(published: Path, tmp_path: Path) -> None:
    sources = published / paths.BUNDLE / "src"
    shutil.copytree(sources, tmp_path / "src", ignore=shutil.ignore_patterns("*.pyc"))
    compile_modules(tmp_path / "src")
    bytecode = {path.relative_to(sources): path.read_bytes() for path in sources.rglob("*.pyc")}
    assert bytecode == {path.relative_to(tmp_path / "src"): path.read_bytes() for path in tmp_path.rglob("*.pyc")}


def test_bundle_and_store_hold_no_value_of_a_row(published: Path, encoded: Search) -> None:
    (stored,) = (published / "store" / "bundles").iterdir()
    assert manifest.digest_of(published / paths.BUNDLE) == stored.name  # so the store holds every byte of the bundle
    # Bytecode, which has other bytes than its sources, is likely to have those of some number by chance.
    files = [path for path in (published / "store").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {"model.onnx", "manifest.json", "golden.json", "sbom.cdx.json", "bundle.sig", "candidate.json"} <= {
        path.name for path in files
    }
    assert {path.name: found for path in files if (found := encoded.columns_in(path.read_bytes()))} == {}
    assert not [path for path in files if path.read_bytes()[:4] in (b"PAR1", b"\x28\xb5\x2f\xfd")]  # not looked into
    for path in (paths.METRICS, paths.GATES, paths.REHEARSAL):
        assert not encoded.columns_in((published / path).read_bytes()), path
    assert (
        set(encoded.columns_in((published / "accounts.csv").read_bytes())) >= CANARIES.keys()
    )  # this side of the wall


def test_common_categories_cross_and_rare_ones_do_not(published: Path) -> None:
    schema = FeatureSchema.from_bytes((published / paths.BUNDLE / manifest.ARTIFACT / "schema.json").read_bytes())
    options = {feature.name: feature.options for feature in schema.features}
    assert options["note"]["categories"] == ["late", "open", "paid"]
    assert set(options["agent"]["table"]) == {"north desk", "south desk"}


def test_model_as_xgboost_leaves_it_would_tell_values_of_every_number(published: Path, encoded: Search) -> None:
    import xgboost

    table = pl.read_parquet(published / paths.TRAINING_ROWS / "*.parquet")
    names = [name for name in table.columns if not name.startswith("__")]
    matrix = table.select(names).to_numpy().astype(np.float32)
    data = xgboost.QuantileDMatrix(matrix, table["__label__"].to_numpy(), nthread=1)
    booster = xgboost.train({"max_depth": 6, "tree_method": "hist", "nthread": 1}, data, 20)
    found = encoded.columns_in(trees.booster_to_onnx(booster, len(names)))
    assert {f"feature {name}" for name in ("phone", "amount", "income", "balance", "share")} <= set(found)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predictions")


@pytest.fixture(scope="module")
def server(published: Path, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    (stored,) = (published / "store" / "bundles").iterdir()
    serve = [str(interpreter("serving")), "-m", "bentoml", "serve", str(stored), "--host", "127.0.0.1"]
    command = ["env", f"BULKHEAD_PREDICTION_LOG={logs}", *serve]
    running = start_server(stored, tmp_path_factory.mktemp("served"), command)
    yield running
    running.stop()


def _spoiled(row: dict[str, Any], other: dict[str, Any]) -> list[Any]:
    """Requests that must be refused, with values of the table in them."""
    return [
        {**row, "amount": other["note"]},
        {**row, "amount": -other["amount"]},
        {**row, "note": [other["note"]]},
        {**row, "opened": other["account"]},
        {**row, "phone": {"number": other["phone"]}},
        {**row, "no_such_field": other["email"]},
        other["account"],
    ]


def test_server_answers_and_refuses_without_telling_a_value(published: Path, server: Server, encoded: Search) -> None:
    schema = json.loads((published / paths.BUNDLE / manifest.ARTIFACT / "schema.json").read_bytes())
    names = [field["name"] for field in schema["fields"]]
    rows = [{**row, "opened": row["opened"].isoformat()} for row in TABLE[:200].to_dicts()]
    requests = [{name: row[name] for name in names if row[name] is not None} for row in rows]
    statuses, answers = [], []
    with closing(HTTPConnection(server.http, timeout=10)) as connection:
        for request, row in zip(requests, rows, strict=True):
            for asked in (request, *_spoiled(request, row)):
                body = json.dumps({"rows": [asked]}).encode()
                status, content = asking.post(connection, body)
                answers.append(content)
                statuses.append(status)
        answers.append(asking.post(connection, json.dumps({"rows": requests}).encode()[:-9])[1])
    assert (statuses.count(200), statuses.count(422)) == (200, 1400)
    with GrpcChannel(server.grpc) as channel:
        for index, request in enumerate(requests[:50]):
            answers.append(repr(asking.over_grpc(channel, request, schema)).encode())
            with pytest.raises(RefusedError) as caught:
                asking.over_grpc(channel, {**request, "no_such_field": rows[index]["email"]}, schema)
            answers.append(str(caught.value).encode())
    told = {"answers": b"\n".join(answers), "log": server.log.read_bytes()}
    for page in ("/", "/docs.json", "/metrics", "/readyz", f"/v2/models/{MODEL}", "/v2", "/schema.json"):
        told[page] = _get(server, page)
    assert b"bulkhead_requests_total" in told["/metrics"]
    assert b"amount" in told["/docs.json"]
    assert {name: found for name, content in told.items() if (found := encoded.columns_in(content))} == {}


def test_prediction_log_has_the_features_but_for_those_of_a_pii_column(
    published: Path, server: Server, logs: Path, encoded: Search
) -> None:
    schema = json.loads((published / paths.BUNDLE / manifest.ARTIFACT / "schema.json").read_bytes())
    names = [field["name"] for field in schema["fields"]]
    rows = [{**row, "opened": row["opened"].isoformat()} for row in TABLE[:200].to_dicts()]
    requests = [{name: row[name] for name in names if row[name] is not None} for row in rows]
    with closing(HTTPConnection(server.http, timeout=10)) as connection:
        status, _ = asking.post(connection, json.dumps({"rows": requests}).encode())
    assert status == 200
    until(lambda: b"bulkhead_prediction_log_rows_total" in (page := _get(server, "/metrics")) and _rows(page) >= 200)
    found = encoded.columns_in(b"".join(path.read_bytes() for path in logs.iterdir()))
    assert {"feature amount", "feature balance", "feature income"} <= found.keys()
    assert not found.keys() & {
        "phone",
        "feature phone",
        "email",
        "owner",
        "account",
        "secret",
        "note",
        "agent",
    }


def _rows(page: bytes) -> float:
    """Rows that the log has taken."""
    (line,) = (line for line in page.splitlines() if line.startswith(b"bulkhead_prediction_log_rows_total{"))
    return float(line.split()[-1])


def _get(server: Server, page: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://{server.http}{page}") as answer:
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        content = error.read()
    return content
