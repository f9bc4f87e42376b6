"""`python -m pipelines COMMAND`: the stages of `dvc.yaml`, and the commands around them."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from contract import command_line
from pipelines.commands.draft import cli as draft
from pipelines.commands.predictions import cli as predictions
from pipelines.commands.quarantine import cli as quarantine
from pipelines.data.integrity.inputs import check_inputs
from pipelines.machine.settings import rotate_key
from pipelines.params import file as params_file

STAGES = {
    "collect": "collect one month into a partition",
    "validate": "check every partition with Great Expectations",
    "features": "fit the feature schema and encode the training table",
    "screen": "refuse leaks, repeated rows and entities on both sides of the split",
    "train": "train XGBoost and the linear baseline, export both to ONNX",
    "champion": "fetch the live model from the bundle store, for the comparison",
    "evaluate": "score the exported model on the hold-out, and gate it",
    "bundle": "build the bundle, a bento named by its digest",
}
COMMANDS = {
    "publish": "put the bundle into the store as candidate",
    "verify": "check every file in DVC for corruption, and repair it from a good copy",
    "monitor": "score the live model on the newest month that has labels",
    "summary": "print scores, paths, endpoints and next steps",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code (see `contract.errors`)."""
    options = _parser().parse_args(arguments)
    # XGBoost's threads spin while they wait; on a busy machine that triples the CPU time, and multiplies the time by five.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=os.environ.get("BULKHEAD_LOG", "WARNING"), format="%(levelname)s %(name)s: %(message)s")
    return command_line.run(lambda: options.run(options), stopped=f"\n{options.command} stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (STAGES | COMMANDS).items():
        stage = commands.add_parser(name, help=text, description=text)
        stage.set_defaults(run=_run_stage)
        if name == "collect":
            stage.add_argument("month", help="such as 2013-01")
        if name == "summary":
            stage.add_argument("--no-fleet", dest="fleet", action="store_false", help="omit endpoints and next steps")
    text = "make a new signing key; bundles signed with the previous one stay trusted"
    rotate = commands.add_parser("rotate-key", help=text, description=text)
    rotate.set_defaults(run=lambda _: print(rotate_key()) or 0)
    text = "draft a params.yaml from a table, for a person to review"
    draft.add_arguments(commands.add_parser("draft", help=text, description=text))
    text = "list, show, release or drop batches of data"
    quarantine.add_commands(commands.add_parser("quarantine", help=text, description=text))
    text = "convert the servers' prediction logs to tables"
    predictions.add_arguments(commands.add_parser("predictions", help=text, description=text))
    return parser


def _run_stage(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    if stage := os.environ.get("DVC_STAGE"):  # set by DVC for the commands of its stages
        check_inputs(Path(os.environ["DVC_ROOT"]), stage)
    settings = params_file.load()
    name = options.command
    module = f"pipelines.stages.{name}.stage" if name in STAGES else f"pipelines.commands.{name}.command"
    run: Callable[..., str] = importlib.import_module(module).run
    summary = run(settings, **{name: getattr(options, name) for name in ("month", "fleet") if name in options})
    took = f"({time.perf_counter() - started:.1f} s)"
    print(summary if options.command == "summary" else f"{options.command}: {summary} {took}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
