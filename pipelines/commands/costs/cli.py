"""`python -m pipelines costs`: what runs cost, what the cache saved, and what a prediction costs beside it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from contract.bundle import manifest
from contract.errors import ConfigurationError
from contract.files import write_atomically
from pipelines import paths
from pipelines.commands.costs import ledger, page, prices, text
from pipelines.commands.costs.runs import Graph, Run, graph, runs, total
from pipelines.machine import usage
from pipelines.params import file as params_file
from pipelines.params.params import Params

_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `costs`, and `run`, a function of the options."""
    parser.add_argument(
        "--runs", type=_count, default=_SHOWN, metavar="N", help=f"newest runs to show (default: {_SHOWN})"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the newest runs, and write `reports/costs.html`.

    Raises:
        ConfigurationError: no run is recorded.
    """
    params = params_file.load()
    found = recorded(params)
    if not found:
        raise ConfigurationError(f"{usage.ledger()} records no run; run the pipeline with `dvc repro` first")
    newest, predictions = found[-options.runs :], per_1000_predictions(params)
    write_atomically(paths.COSTS, page.render(params, newest, stages(params), predictions).encode())
    if options.json:
        entries = [prices.as_dict(entry, params.costs) for entry in newest]
        shown = {"prices": params.costs.model_dump(), "runs": entries, "per_1000_predictions": predictions}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        print(f"{text.render(newest, stages(params), params.costs, predictions)}\n\nwritten to {paths.COSTS}")
    return 0


def recorded(params: Params) -> list[Run]:
    """Return all runs in the ledger of this machine."""
    return runs(ledger.read(usage.ledger()), stages(params))


def stages(params: Params) -> Graph:
    """Return the graph of `dvc.yaml`."""
    defined = yaml.safe_load(Path("dvc.yaml").read_bytes())["stages"]
    return graph(defined, params.data.months)


def per_1000_predictions(params: Params) -> dict[str, Any] | None:
    """Return the cost of 1,000 predictions of the newest published bundle; None if none was published with that figure."""
    if not paths.REHEARSAL.is_file():
        return None
    return prices.of_predictions(json.loads(paths.REHEARSAL.read_bytes()), params.costs)


def of_bundle(params: Params, bundle: Path) -> dict[str, Any]:
    """Return what a bundle cost: each stage that made it as it last ran, in this run or an earlier one, and its predictions."""
    last = {stage: cost for entry in recorded(params) for stage, cost in entry.spent.items()}
    made = {stage: last[stage] for stage in stages(params).needed(["bundle"]) if stage in last}
    return {
        "bundle": manifest.digest_of(bundle),
        "prices": params.costs.model_dump(),
        "stages": {stage: prices.figures(cost, params.costs) for stage, cost in made.items()},
        "total": prices.figures(total(made.values()), params.costs),
        "per_1000_predictions": per_1000_predictions(params),
    }


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number, 1 or more")
    return int(value)
