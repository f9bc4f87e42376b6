"""Tables of figures in pages, from recorded results: what stands between `<!-- figures: … -->` and `<!-- end -->`.

`figures.json` beside this holds what `benchmarks/results.json` held when it was recorded, each entry with the day and the machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.results import FILE as RESULTS
from benchmarks.results import number
from docs.generate.markdown import table
from harness import PROJECT

RECORD = Path(__file__).with_name("figures.json")
_METRICS = PROJECT / "metrics.json"
_BLOCK = re.compile(r"(<!-- (figures|summary|scores):? ?([\w, -]*?) ?-->\n).*?(<!-- end -->)", re.DOTALL)
_MEANINGS = {
    "repro": "`dvc repro` from nothing, twelve months",
    "noop_over_status": "`dvc repro` when nothing changed",
    "search": "a search of 20 trials and its training, two months",
    "airflow": "the same pipeline in Airflow, two months",
    "http_p50": "one row over HTTP, p50",
    "http_p99": "one row over HTTP, p99",
    "http_per_core": "one row over HTTP",
    "http_per_core_over_bentoml_api": "one row over HTTP",
    "http_per_core_over_mlserver": "one row over HTTP",
    "http_p99_at_half": "p99 over HTTP at half of the capacity",
    "grpc_p50": "one row over gRPC, p50",
    "grpc_per_core_over_mlserver": "one row over gRPC",
    "overload_http_1_goodput": "goodput at 3× capacity, a replica alone",
    "overload_http_1_fleet_goodput": "goodput at 3× capacity, behind Envoy",
    "replica_memory": "memory of a replica, supervisor and worker",
    "environment_over_mlserver": "serving environment, installed",
    "time_to_ready": "`bentoml serve` to ready",
}
_MODELS = (("XGBoost, as served", None), ("logistic regression", "linear"), ("prior", "prior"))
_SCORES = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "log_loss": "log loss", "brier": "Brier"}

Entry = dict[str, Any]


def filled(text: str) -> str:
    """Return a page with its tables made anew."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{_tables(found[2], found[3])}\n\n{found[4]}", text)


def record(measured: str) -> int:
    """Put the figures of `benchmarks/results.json` in the place of those of the same names; return how many."""
    fresh = {entry["name"]: entry | {"measured": measured} for entry in json.loads(RESULTS.read_bytes())}
    kept = [entry for entry in _recorded() if entry["name"] not in fresh]
    lines = (json.dumps(entry, ensure_ascii=False) for entry in (*kept, *fresh.values()))
    RECORD.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    return len(fresh)


def _recorded() -> list[Entry]:
    entries: list[Entry] = json.loads(RECORD.read_bytes())
    return entries


def _tables(kind: str, names: str) -> str:
    if kind == "scores":
        return _scores(json.loads(_METRICS.read_bytes()))
    if kind == "summary":
        return _summary(_recorded())
    benchmarks = names.replace(",", " ").split()
    return "\n\n".join(_measured([entry for entry in _recorded() if entry["command"].split()[-1] in benchmarks]))


def _measured(entries: list[Entry]) -> Iterable[str]:
    """Yield a table for each day and machine."""
    for measured in dict.fromkeys(entry["measured"] for entry in entries):
        rows = [
            (f"`{entry['name']}`", _ours(entry), _ratio(entry), entry["against"], entry["bar"] or "", _holds(entry))
            for entry in entries
            if entry["measured"] == measured
        ]
        yield f"{measured}:"
        yield table(("figure", "ours", "ratio", "against", "bar", "holds"), rows)


def _summary(entries: list[Entry]) -> str:
    first = {entry["name"]: entry for entry in reversed(entries)}
    rows = [
        (_MEANINGS[name], _ours(first[name]), f"{_ratio(first[name])} {first[name]['against']}")
        for name in _MEANINGS
        if name in first
    ]
    return table(("", "ours", "against"), rows)


def _scores(metrics: Entry) -> str:
    rows = [
        (title, *(f"{(metrics['against'][name] if name else metrics)[score]:.3f}" for score in _SCORES))
        for title, name in _MODELS
    ]
    return table(("model", *_SCORES.values()), rows)


def _ours(entry: Entry) -> str:
    return f"{number(entry['value'])} {entry['unit']}"


def _ratio(entry: Entry) -> str:
    return "" if entry["ratio"] is None else f"{entry['ratio']:.2f}×"


def _holds(entry: Entry) -> str:
    return {True: "yes", False: "**no**", None: ""}[entry["holds"]]
