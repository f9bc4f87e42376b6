"""`summary`: the scores, the places and the next steps, printed at the end of `make up`."""

from __future__ import annotations

import json
import os
from typing import Any

from pipelines import paths
from pipelines.machine import looks
from pipelines.machine.settings import open_store
from pipelines.params.params import Params
from pipelines.statistics.measures import MEASURES

_PORTS = {"HTTP": "8080", "GRPC": "8081", "STATUS": "8085"}


def run(params: Params, *, fleet: bool = True) -> str:
    """Return the scores beside the baselines, and the places; with a fleet, its endpoints and the next steps too."""
    metrics = json.loads(paths.METRICS.read_bytes())
    store = open_store()
    live = store.read("live")
    places = f"""report   {paths.EVALUATION.resolve()}
           data docs {(paths.DATA_DOCS / "index.html").resolve()}
           bundles  {store.location}: {live.digest[:12] if live else "nothing"} is live"""
    if not fleet:
        return f"{_scores(params.name, metrics)}\n\nwhere      {places}\n"
    http, grpc, status = (os.environ.get(f"BULKHEAD_{name}_PORT", port) for name, port in _PORTS.items())
    return f"""{_scores(params.name, metrics)}

where      HTTP     http://127.0.0.1:{http}      (OpenAPI page at /, POST /predict, /v2, /metrics)
           gRPC     127.0.0.1:{grpc}             (inference.GRPCInferenceService, grpc.health.v1)
           status   http://127.0.0.1:{status}      (replicas, traffic, canary, deployments, costs)
           {places}

next       bin/fleet status                    the replicas
           source .venv/pipeline/bin/activate; dvc metrics show; dvc exp run -S train.max_depth=6
                                               -S rewrites params.yaml; `git restore params.yaml` restores its layout
           python -m pipelines costs           what the runs cost, and what the cache saved
           make airflow                        the same pipeline on a schedule, with a UI
           docs/tutorial/own-table.md          your own table
           make down                           stop the fleet
"""


def _scores(model: str, metrics: dict[str, Any]) -> str:
    models = {"this model": metrics, **metrics["against"]}
    of = f" of {' and '.join(months)}" if (months := metrics["holdout"].get("months")) else ""
    keys = [key for key, entry in MEASURES.items() if key in metrics and entry.is_summarised]
    lines = [f"\n{model}: scores on the hold-out, the {metrics['holdout']['rows']:,} rows{of}, with 95 % bounds"]
    lines.append(f"{'':<12}" + "".join(f"{name:>30}" for name in models))
    for key in keys:
        cells = (_score(measured, key) for measured in models.values())
        lines.append(f"{MEASURES[key].title:<12}" + "".join(f"{cell:>30}" for cell in cells))
    if paths.GATES.is_file() and (counted := looks.told_of(json.loads(paths.GATES.read_bytes()))):
        lines.append(counted)
    return "\n".join(lines)


def _score(measured: dict[str, Any], key: str) -> str:
    if key not in measured:
        return "–"
    bounds = measured["bounds"].get(key)
    said = f"{bounds['lower_bound']:,.4f} to {bounds['upper_bound']:,.4f}" if bounds else "too few for bounds"
    return f"{measured[key]:,.4f} ({said})"
