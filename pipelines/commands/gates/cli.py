"""`python -m pipelines gates`: the checks of the last evaluation, or of a published bundle, decided again from its predictions."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from contract.bundle import evidence
from contract.errors import BundleError, ConfigurationError
from pipelines import paths
from pipelines.commands.reproduce.differences import differences


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `gates`, and `run`, a function of the options."""
    parser.add_argument(
        "--recompute",
        metavar="BUNDLE",
        help="decide the gates of a published bundle again, from the predictions in DVC, and compare every figure: a channel such as "
        "`live`, or a digest or its first eight characters or more",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Print every check, and the verdict.

    Raises:
        ConfigurationError: nothing was evaluated here.
        BundleError: the bundle has no evidence, its predictions are nowhere, or a figure differs.
    """
    if options.recompute is None:
        if not paths.GATES.is_file():
            raise ConfigurationError(
                f"{paths.GATES} is not here; run `dvc repro evaluate` first, or name --recompute BUNDLE"
            )
        print(_told(json.loads(paths.GATES.read_bytes())))
        return 0
    digest, stored = _published(options.recompute)
    again = _decided_again(digest, stored)
    if problems := list(
        differences("", {name: stored[name] for name in again}, again, ("the bundle", "the new decision"))
    ):
        raise BundleError(f"the gates of {digest[:12]} are not the same when they are decided again", problems)
    rows = stored["predictions"]["rows"]
    print(f"{_told(stored)}\n{digest[:12]}: decided again from {rows:,} stored predictions; every figure is the same")
    return 0


def _published(bundle: str) -> tuple[str, dict[str, Any]]:
    from pipelines.machine.settings import open_store

    store = open_store()
    digest = store.resolve(bundle)
    path = store.path(digest) / evidence.GATES
    if not path.is_file():
        raise BundleError(f"the bundle {digest[:12]} has no {evidence.GATES}: an earlier version built it")
    found: dict[str, Any] = json.loads(path.read_bytes())
    return digest, found


def _decided_again(digest: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    from contract.files import canonical_json
    from pipelines.data.integrity.check import content_of, places_of
    from pipelines.data.integrity.objects import Object
    from pipelines.stages.evaluate.gates import decision
    from pipelines.stages.evaluate.gates.figures import Given
    from pipelines.stages.evaluate.gates.predictions import Predictions

    if stored["format"] != decision.FORMAT:
        raise BundleError(
            f"the gates of {digest[:12]} have format {stored['format']}, this version decides {decision.FORMAT}; run it of the commit that "
            f"built the bundle: `python -m pipelines reproduce {digest[:12]}` names it"
        )
    md5 = stored["predictions"]["md5"]
    content = content_of(Object(md5, Path(paths.PREDICTIONS)), places_of(Path.cwd()))
    if content is None:
        raise BundleError(
            f"the predictions of {digest[:12]} (MD5 {md5}) are neither in the cache nor in the remote of DVC, or corrupt there; run it "
            "where the model was evaluated, or fetch them with `dvc fetch --run-cache`"
        )
    found = decision.decide(Predictions.read(BytesIO(content)), Given.from_json(stored["given"]))
    again: dict[str, Any] = json.loads(canonical_json(found))
    return again


def _told(found: Mapping[str, Any]) -> str:
    from pipelines.machine import looks
    from pipelines.stages.evaluate.gates import gate

    lines = [f"{check['verdict']:<14}{gate.reason(check)}" for check in found["checks"]]
    lines += [f"{'warning':<14}{what}" for what in found["weak"]]
    lines += [f"{'looks':<14}{counted}"] if (counted := looks.told_of(found)) else []
    return "\n".join([*lines, f"{found['verdict']}: {gate.summary(found['checks'], found['champion'])}"])
