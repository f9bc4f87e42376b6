"""`python -m pipelines COMMAND`: the stages of `dvc.yaml`, and the commands around them."""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, NoReturn

from contract import command_line
from contract.errors import ConfigurationError
from pipelines.machine import contained, usage

_GARBAGE = 50_000  # new objects between two collections; Python's default is 700
# The libraries of a command take longer to import than some commands run, so each imports its own, below.
STAGES = {
    "declare": "write what a collected month depends on, and the features, into files for other stages",
    "collect": "collect one month into a partition",
    "validate": "check every partition with Great Expectations",
    "features": "fit the feature schema and encode the training table",
    "screen": "refuse leaks, repeated rows and entities on both sides of the split",
    "tune": "search better settings for the model, if params.yaml asks for trials",
    "train": "train XGBoost and the linear baseline, export both to ONNX",
    "staleness": "judge models of earlier months on later ones, if params.yaml asks for it",
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


# With arguments of their own, which the function of a module adds.
WITH_ARGUMENTS = {
    "costs": ("compare what runs cost, and what the cache saved", "costs", "add_arguments"),
    "rotate-key": ("make a new signing key; bundles signed with the previous one stay trusted", None, ""),
    "draft": ("draft a params.yaml from a table, for a person to review", "draft", "add_arguments"),
    "quarantine": ("list, show, release or drop batches of data", "quarantine", "add_commands"),
    "reproduce": (
        "rebuild a published bundle from what its manifest names, and compare the digests",
        "reproduce",
        "add_arguments",
    ),
    "predict": ("score a table of any size, as a server scores the same rows", "predict", "add_arguments"),
    "gates": ("show the gates of the last evaluation, or decide those of a bundle again", "gates", "add_arguments"),
    "compare": ("show figures and curves of two commits on one page", "gates.comparison", "add_arguments"),
    "predictions": ("convert the servers' prediction logs to tables", "predictions", "add_arguments"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code (see `contract.errors`)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
    # XGBoost's threads spin while they wait; on a busy machine that triples the CPU time, and multiplies the time by five.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    def logged() -> int:
        logging.basicConfig(level=_log_level(), format="%(levelname)s %(name)s: %(message)s")
        return int(options.run(options))

    def run() -> int:
        return command_line.run(logged, stopped=f"\n{options.command} stopped")

    return usage.recorded(options.command, run) if options.command in {*STAGES, "publish"} else run()


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of all commands; one with arguments of its own has them if it is among the words."""
    parser = command_line.parser(prog="python -m pipelines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (STAGES | COMMANDS).items():
        stage = commands.add_parser(name, help=text, description=text)
        stage.set_defaults(run=_run_stage)
        if name == "collect":
            stage.add_argument("month", help="such as 2013-01")
        if name == "summary":
            stage.add_argument("--no-fleet", dest="fleet", action="store_false", help="omit endpoints and next steps")
    for name, (text, package, add) in WITH_ARGUMENTS.items():
        command = commands.add_parser(name, help=text, description=text)
        if package is None:
            command.set_defaults(run=_rotate_key)
        elif name in words:
            getattr(importlib.import_module(f"pipelines.commands.{package}.cli"), add)(command)
    return parser


def _log_level() -> str:
    level, known = (
        (os.environ.get("BULKHEAD_LOG") or "WARNING").upper(),
        ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    )
    if level not in known:
        raise ConfigurationError(f"BULKHEAD_LOG is {level!r}; it must be one of {', '.join(known)}")
    return level


def _rotate_key(_options: argparse.Namespace) -> int:
    from pipelines.machine.settings import rotate_key

    print(rotate_key())
    return 0


def _run_stage(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    name = options.command
    # Most garbage of a short process is freed by its end; the default collects cycles so often that imports take a fifth longer.
    gc.set_threshold(_GARBAGE)
    summary = _shortcut(options) or _run(options)
    took = f"({time.perf_counter() - started:.1f} s)"
    print(summary if name == "summary" else f"{name}: {summary} {took}")
    return 0


def _shortcut(options: argparse.Namespace) -> str | None:
    """Do what needs neither the parser of params.yaml nor the libraries of a stage; None if there is more to do.

    Such a stage takes a tenth of a second. Their outputs would be the same without this.
    """
    if options.command == "declare":
        from ruamel.yaml.error import YAMLError

        from pipelines.stages.declare import stage

        # What it cannot read, the parser explains.
        with suppress(FileNotFoundError, YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return stage.run()
        return None
    if options.command == "collect":
        from pipelines.stages.collect import ahead

        return ahead.take(options.month)
    if options.command == "champion":
        from pipelines.stages.champion import unchanged

        return unchanged.since_last_time()
    return None


def _run(options: argparse.Namespace) -> str:
    from pipelines.data.integrity.inputs import check_inputs
    from pipelines.params import file as params_file

    if stage := os.environ.get("DVC_STAGE"):  # set by DVC for the commands of its stages
        check_inputs(Path(os.environ["DVC_ROOT"]), stage)
    name, params = options.command, params_file.load()
    if name == "collect" and options.month not in params.data.months:
        months = ", ".join(params.data.months)
        raise ConfigurationError(f"data.months of params.yaml does not list {options.month!r}; it has {months}")
    module = f"pipelines.stages.{name}.stage" if name in STAGES else f"pipelines.commands.{name}.command"
    run: Callable[..., str] = importlib.import_module(module).run
    if name == "train":
        return _train(run, params)
    if name == "staleness":
        return _staleness(run, params)
    return run(params, **{name: getattr(options, name) for name in ("month", "fleet") if name in options})


def _train(run: Callable[..., str], settings: Any) -> str:
    """Run the stage with this machine's checkpoints, most of which go once its outputs are written."""
    from pipelines.machine.settings import open_checkpoints
    from pipelines.models.engines.checkpoints import Checkpoints
    from pipelines.models.family import Session

    checkpoints = Checkpoints(open_checkpoints())
    summary = run(settings, Session(checkpoints, scratch=_scratch))
    checkpoints.clear()
    return summary


def _staleness(run: Callable[..., str], settings: Any) -> str:
    """Run the stage with the models that this machine keeps."""
    from pipelines.machine.blobs import open_blobs
    from pipelines.paths import var_directory

    return run(settings, open_blobs(str(var_directory() / "staleness")), _scratch)


def _scratch() -> AbstractContextManager[Path]:
    """Return an empty directory in this machine's scratch space, until the end of a block."""
    from pipelines.machine import scratch
    from pipelines.paths import var_directory

    return scratch.directory(var_directory() / "scratch")


def _end(code: int) -> NoReturn:
    """End the process without taking its modules apart, which takes up to a second once libraries are loaded."""
    atexit._run_exitfuncs()
    command_line.end(code)


def _contain(named: Sequence[str]) -> int:
    """Put a stage into the cgroup of training; return 0, or the exit code of a setting that is not allowed."""
    if not {*STAGES, "monitor", "predict"}.intersection(named):
        return 0

    def enter() -> int:
        contained.enter(named[0])
        return 0

    return command_line.run(enter, stopped=f"{named[0]} stopped")


if __name__ == "__main__":
    _end(_contain(sys.argv[1:2]) or main())
