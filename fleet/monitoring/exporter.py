"""The fleet's own metrics in Prometheus's text format: what only the fleet knows. What was not measured is left out, never 0.

Pure functions of what `Observer.look` found. Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_AUTHORS = ("judge", "autoscaler", "reconciler")  # whoever else changes the fleet is a person
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
Sample = tuple[Mapping[str, str], float | None]
Family = tuple[str, str, str, Iterable[Sample]]  # name, kind, help, samples


def page(seen: Mapping[str, Any]) -> str:
    """Return the page of metrics for a snapshot; a snapshot that failed says only that nothing is ready."""
    families = (_of_status(seen), _of_canary(seen), _of_scaling(seen), _of_changes(seen), _of_costs(seen))
    return "".join(line for each in families for family in each for line in _lines(*family))


def _of_status(seen: Mapping[str, Any]) -> Iterator[Family]:
    status, versions = seen["status"], seen.get("versions", ())
    yield _gauge("ready", "1 if all that is wanted serves, and what ends is replaced", _one(status["ready"]))
    yield _gauge("problems", "Problems that the status names", _one(len(status["problems"])))
    wanted = [({"role": each["role"]}, each["replicas"]) for each in versions]
    ready = [({"role": each["role"]}, each["ready"]) for each in versions]
    yield _gauge("replicas", "Replicas by the role of their bundle", wanted)
    yield _gauge("replicas_ready", "Replicas that get requests", ready)
    started = [({"replica": each["name"]}, each.get("started_at") or None) for each in status["replicas"]]
    yield _gauge("replica_start_time_seconds", "Unix time at which the process of a replica started", started)
    if reconciler := seen.get("reconciler"):
        yield _gauge("reconciler_up", "1 if a reconciler has looked lately", _one(reconciler["looks"]))
        failing = _one(reconciler["failure"] is not None)
        yield _gauge("reconciler_failing", "1 if what the reconciler did last has failed", failing)


def _of_canary(seen: Mapping[str, Any]) -> Iterator[Family]:
    trial = seen["status"].get("canary")
    found = (seen.get("canary") or {}) if trial else {}
    if "ended_at" in found or not trial or found.get("bundle") != trial["digest"]:
        found = {}  # of an earlier canary
    judge = {"judge": trial["judge"]} if trial else {}
    yield _gauge("canary_weight_percent", "The share of a canary on trial", [(judge, trial and trial["percent"])])
    began = [(judge, found.get("started_at"))]
    yield _gauge("canary_start_time_seconds", "Unix time at which the trial of a canary began", began)
    sides = found.get("requests", {}).items()
    answered = [({"side": side}, count) for side, count in sides]
    yield _counter("canary_requests", "Requests that both sides of a trial have answered", answered)
    for name, key, text in (
        ("evidence", "evidence", "The e-value of the evidence that a canary does harm"),
        ("threshold", "thresholds", "The e-value at which a canary is rolled back"),
    ):
        yield _gauge(f"canary_{name}", text, [({"kind": kind}, value) for kind, value in found.get(key, {}).items()])


def _of_scaling(seen: Mapping[str, Any]) -> Iterator[Family]:
    scaling = seen.get("scaling") or {}
    if scaling.get("mode") not in ("stable", "panic"):
        scaling = {}  # fleet.yaml has a fixed number
    for key, text in (
        ("min", "The least replicas that may serve"),
        ("max", "The most replicas that may serve"),
        ("desired", "Replicas that the autoscaler wants"),
    ):
        yield _gauge(f"scaling_{key}", text, _one(scaling.get(key)))
    measured = scaling["in_flight"] is not None if scaling else None
    yield _gauge("scaling_measured", "1 if the autoscaler has metrics of every replica", _one(measured))


def _of_changes(seen: Mapping[str, Any]) -> Iterator[Family]:
    newest: dict[tuple[str, str, str], float] = {}
    for entry in seen.get("history", ()):  # the newest first
        by = entry["by"] if entry["by"] in _AUTHORS else "person"
        verdict = str(entry["verdict"] or "").partition(":")[0]
        newest.setdefault((entry["verb"], by, verdict), datetime.fromisoformat(entry["at"]).timestamp())
    samples = [(dict(zip(("verb", "by", "verdict"), key, strict=True)), at) for key, at in newest.items()]
    yield _gauge("last_change_timestamp_seconds", "Unix time of the newest change, of those that are shown", samples)


def _of_costs(seen: Mapping[str, Any]) -> Iterator[Family]:
    costs = seen.get("costs")
    total = costs["total"] if costs else {}
    currency = {"currency": costs["prices"]["currency"]} if costs else {}
    yield _counter("cost", "Money spent, idle time included", [(currency, total.get("money"))])
    yield _counter("cost_idle", "Money spent while no row was predicted", [(currency, total.get("idle"))])
    yield _counter("predictions", "Rows predicted for callers", _one(total.get("predictions")))
    parts = [({"part": part}, value) for part, value in total.get("cpu_s", {}).items() if part != "total"]
    yield _counter("cpu_seconds", "CPU time by part of the fleet", parts)


def _one(value: float | None) -> list[Sample]:
    return [({}, value)]


def _gauge(name: str, text: str, samples: Iterable[Sample]) -> Family:
    return f"bulkhead_fleet_{name}", "gauge", text, samples


def _counter(name: str, text: str, samples: Iterable[Sample]) -> Family:
    return f"bulkhead_fleet_{name}_total", "counter", text, samples


def _lines(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        written = ",".join(f'{key}="{label.translate(_ESCAPES)}"' for key, label in labels.items())
        if value is not None:
            yield f"{name}{{{written}}} {float(value)!r}\n"
