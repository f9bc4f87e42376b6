"""`python -m pipelines quarantine list | show | release | drop`: the batches, for people."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contract import command_line
from contract.errors import ConfigurationError, DataRejectedError
from contract.files import sha256
from pipelines import paths
from pipelines.data.ledger import Batch, Ledger, State, batch_id, find, inputs_digest, project_ledger
from pipelines.data.refused import put_back
from pipelines.params import file as params_file
from pipelines.params.params import Data, TargetParams, Validate


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add `list`, `show`, `release` and `drop`; each sets `run`, a function of the options."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, run, text in (
        ("list", _list, "list every batch and its state"),
        ("show", _show, "show why a batch was refused, or rows of it were split off"),
        ("release", _release, "replay a quarantined batch through the checks, after a fix"),
        ("drop", _drop, "give a quarantined batch up; it is never used again"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if name != "list":
            command.add_argument("batch", help="its id, or its month if only one batch matches")
        if name in ("list", "show"):
            command.add_argument("--json", action="store_true", help="for programs")


def known(ledger: Ledger, data: Data, target: TargetParams, declared: Validate) -> dict[str, Batch]:
    """Return every batch, in exactly one state.

    The ledger has each verdict given here. A verdict that DVC restored from its cache is in `reports/validation.json`; it counts if it
    was given on the present inputs and the ledger's was not. A partition in neither is `pending`.
    """
    batches = ledger.read()
    digests = {path.stem: sha256(path) for path in sorted(paths.PARTITIONS.glob("*.parquet"))}
    present = inputs_digest(data, target, declared, {month: digests.get(month, "") for month in data.months})
    for month, entry in _report().items():
        before = batches.get(entry["batch"])
        is_restored = before and before.state != "dropped" and before.inputs != present == entry["inputs"]
        if before is None or is_restored:
            state: State = "accepted" if entry["success"] else "quarantined"
            history = (*before.history, before.state) if before else ()
            batches[entry["batch"]] = Batch(
                entry["batch"], month, entry["partition_sha256"], state, entry["rows"], entry["split"],
                inputs=entry["inputs"], history=history,
            )  # fmt: skip
    for month, digest in digests.items():
        name = batch_id(month, digest)
        batches.setdefault(name, Batch(name, month, digest, "pending"))
    return dict(sorted(batches.items()))


def release(
    ledger: Ledger, name: str, data: Data, target: TargetParams, declared: Validate, replay: Callable[[], int]
) -> tuple[Batch, int]:
    """Replay a quarantined batch through the checks; return the batch with its new state, and their exit code.

    Raises:
        ConfigurationError: the batch is not quarantined, its month is not in `data.months`, or its copy is missing.
        DataRejectedError: its month was collected again, so that other bytes would be replayed.
    """
    batch = find(known(ledger, data, target, declared), name, ("quarantined", "released"))
    if batch.month not in data.months:
        raise ConfigurationError(
            f"data.months does not list {batch.month}, so batch {batch.id} cannot be replayed; add the month"
        )
    partition = paths.partition(batch.month)
    if partition.is_file() and sha256(partition) != batch.sha256:
        raise DataRejectedError(
            f"{partition} is no longer batch {batch.id}: the month was collected again. "
            f"`dvc repro` checks the new one; `python -m pipelines quarantine drop {batch.id}` drops the old one"
        )
    if not partition.is_file():
        put_back(ledger.copy_of(batch), partition, Path.cwd())
    if batch.state != "released":
        ledger.move(batch.id, "released", allowed=("quarantined",))
    code = replay()
    after = known(ledger, data, target, declared)[batch.id]
    if after.state == "accepted":
        ledger.settle([(after, partition)])
    elif after.state == "released":  # another month stopped the run before a verdict, or the run could not start
        after = ledger.move(batch.id, "quarantined", allowed=("released",))
    return after, code


def _declared() -> tuple[Data, TargetParams, Validate]:
    """Return the sections of params.yaml that decide a verdict."""
    params = params_file.load()
    return params.data, params.target, params.validate_


def _report() -> dict[str, Any]:
    if not paths.VALIDATION.is_file():
        return {}
    report: dict[str, Any] = json.loads(paths.VALIDATION.read_bytes())
    return {month: entry for month, entry in report.items() if "inputs" in entry}


def _list(options: argparse.Namespace) -> int:
    batches = known(project_ledger(), *_declared())
    if options.json:
        print(json.dumps([asdict(batch) for batch in batches.values()]))
        return 0
    if not batches:
        command_line.tell("there is no batch yet; `dvc repro` collects the months")
    for batch in batches.values():
        split = f"\t{sum(batch.split.values())} row failures split off" if batch.split else ""
        print(f"{batch.id}\t{batch.state}\t{batch.rows:,} rows{split}")
    return 0


def _show(options: argparse.Namespace) -> int:
    ledger = project_ledger()
    batch = find(known(ledger, *_declared()), options.batch, ("quarantined", "released"))
    if options.json:
        print(json.dumps(asdict(batch)))
        return 0
    print(f"{batch.id}: {' → '.join((*batch.history, batch.state))}, {batch.rows:,} rows, sha256 {batch.sha256}")
    for problem in batch.problems:
        print(f"  - {problem}")
    for reason, count in batch.split.items():
        print(f"  - {count} rows: {reason}")
    kept = ledger.copy_of(batch)
    rows = paths.QUARANTINED / f"{batch.month}.parquet"
    if kept.is_file():
        print(f"the whole batch: {kept}")
    if batch.split and batch.state == "accepted" and rows.is_file():
        print(f"the rows that were split off, with their reasons: {rows}")
    return 0


def _release(options: argparse.Namespace) -> int:
    batch, code = release(project_ledger(), options.batch, *_declared(), _repro)
    print(f"{batch.id} is {batch.state}")
    if batch.state == "accepted":
        print("the next run trains on it: `make up`, or `dvc repro`")
    return code if batch.state != "accepted" else 0


def _drop(options: argparse.Namespace) -> int:
    ledger = project_ledger()
    batch = ledger.move(options.batch, "dropped", allowed=("quarantined", "released"))
    print(f"{batch.id} is dropped: remove {batch.month} from data.months, or deliver it again and rerun")
    return 0


def _repro() -> int:
    """Run the stage `validate` and its upstream through DVC, which caches the results; return the exit code."""
    command = [str(Path(sys.executable).with_name("dvc")), "--wait-for-lock", "repro", "validate"]
    code = subprocess.run(command, check=False).returncode
    return DataRejectedError.exit_code if code else 0
