"""Evidence of a run of the pipeline, read from the directory that it ran in.

Each function returns its figures in words, and raises NotShownError if the evidence is missing or says the contrary.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from contract.bundle import evidence as bundled
from contract.bundle import manifest
from contract.errors import BulkheadError
from contract.model.predictor import Predictor
from contract.model.transforms import TRANSFORMS
from contract.schema import schema as feature_schema
from contract.schema.schema import FeatureSchema
from drills.score import studies
from drills.score.checks import NotShownError
from harness import PROJECT
from pipelines import paths
from pipelines.models.tuning import BETTER, OFF, shown
from pipelines.params import file
from pipelines.params.params import Params
from pipelines.stages.staleness.ages import UNDECIDED
from pipelines.stages.tune.verdict import FEWEST

_FEWEST_TRIALS = 20


def _read(place: Path, path: Path) -> Any:
    if not (place / path).is_file():
        raise NotShownError(f"there is no {path}; run `make repro`")
    return json.loads((place / path).read_bytes())


def _schema(place: Path) -> FeatureSchema:
    return FeatureSchema.from_bytes((place / paths.BOOSTED / feature_schema.FILE_NAME).read_bytes())


def _params(place: Path) -> Params:
    return file.load(place / "params.yaml")


# ── features and data ──
def expectations(place: Path) -> str:
    """Ask that every declared column has an expectation in every month, and that all were met."""
    months, declared = _read(place, paths.VALIDATION), set(_params(place).data.columns)
    count = 0
    for month, found in months.items():
        if missing := declared - {entry["column"] for entry in found["expectations"]}:
            raise NotShownError(f"{month}: no expectation of {', '.join(sorted(missing))}")
        if failed := [entry["type"] for entry in found["expectations"] if not entry["success"]]:
            raise NotShownError(f"{month}: {len(failed)} expectations failed, first {failed[0]}")
        count += len(found["expectations"])
    return f"{count} expectations of {len(declared)} columns met in {len(months)} months"


def _asked_there(place: Path, module: str, *arguments: str) -> Any:
    """Return what a module of `drills.score` prints as JSON when it runs in `place`."""
    # Not the modules of `place`, which may be those of another commit.
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", f"drills.score.{module}", *arguments]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise NotShownError(f"{module} cannot be computed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return json.loads(done.stdout)


def beneficial(place: Path) -> str:
    """Shuffle every feature of the hold-out, and ask that no loss falls and that the model uses each."""
    found: dict[str, dict[str, float]] = _asked_there(place, "permutation")
    if unused := [name for name, entry in found.items() if not entry["importance"]]:
        raise NotShownError(f"the model uses {len(unused)} features nowhere: {', '.join(unused)}")
    if harmful := [name for name, entry in found.items() if entry["upper_bound"] < 0]:
        raise NotShownError(f"the loss falls without {len(harmful)} features: {', '.join(harmful)}")
    helpful = sum(entry["lower_bound"] > 0 for entry in found.values())
    return f"{helpful} of {len(found)} features help with 95 % confidence, none harms"


def screened(place: Path) -> str:
    """Ask that every feature was screened for leaks, and none is above the limit but the reviewed ones."""
    found, limit = _read(place, paths.SCREENING)["features"], _params(place).gates
    names = {feature.name for feature in _schema(place).features}
    if missing := names - set(found):
        raise NotShownError(f"not screened: {', '.join(sorted(missing))}")
    strong = {name for name in names if found[name].get("auc", 0) > limit.feature_auc} - set(limit.reviewed)
    if strong:
        raise NotShownError(f"ROC-AUC above {limit.feature_auc} alone: {', '.join(sorted(strong))}")
    return f"{len(names)} features screened, none above ROC-AUC {limit.feature_auc} alone"


def transforms_tested(_: Path) -> str:
    """Ask that the tests name every transform."""
    folders = (PROJECT / "tests/contract/model", PROJECT / "tests/pipelines/features")
    texts = "".join(path.read_text() for folder in folders for path in sorted(folder.glob("test_*.py")))
    if missing := [name for name in TRANSFORMS if f'"{name}"' not in texts]:
        raise NotShownError(f"no test names the transforms {', '.join(missing)}")
    return f"{len(TRANSFORMS)} transforms are named by tests"


# ── model ──
def committed(_: Path) -> str:
    """Ask that what specifies the model is in Git, as it is."""
    specified = ["params.yaml", "dvc.yaml", "pipelines", "contract", "requirements/pipeline.txt"]
    command = ["git", "status", "--porcelain", "--", *specified]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        raise NotShownError("this is no checkout of Git")
    if done.stdout:
        raise NotShownError(f"{len(done.stdout.splitlines())} files differ from the commit")
    return f"{', '.join(specified)} are those of the commit"


def tuned(place: Path) -> str:
    """Ask that a search of settings has run before this model, or that one of this table found none better than these."""
    found, by = _read(place, paths.TUNING), ""
    if found["verdict"] == OFF:
        found, by = _study(place, "tuning", "no search has run before this model (tune.trials: 0)"), "kept study: "
        if found["verdict"] == BETTER:
            told = shown(found["parameters"])
            raise NotShownError(f"a search found better settings than those of params.yaml: {told}")
    trials, clusters = len(found["trials"]), found["evidence"]["clusters"]
    if trials < _FEWEST_TRIALS or clusters < FEWEST:
        raise NotShownError(f"{trials} trials over {clusters} days, entities or rows show nothing")
    return f"{by}{trials} trials over {clusters} days, entities or rows: {found['verdict']}"


def _study(place: Path, name: str, without: str) -> dict[str, Any]:
    """Return a study that is kept for the table and the settings of this run."""
    kept: dict[str, dict[str, Any]] = json.loads(studies.FILE.read_bytes())
    if name not in kept:
        raise NotShownError(f"{without}, and {studies.FILE.name} has none")
    if changed := _asked_there(place, "studies", str(studies.FILE))[name]:
        raise NotShownError(f"{without}, and that of {studies.FILE.name} had other {', '.join(changed)}")
    return kept[name]


def gate_passed(name: str) -> Callable[[Path], str]:
    """Return evidence that this gate passed, with its bounds."""

    def passed(place: Path) -> str:
        found = {check["name"]: check for check in _read(place, paths.GATES)["checks"]}
        if name not in found:
            raise NotShownError(f"there is no gate {name!r}")
        check = found[name]
        if check["verdict"] != "passed":
            raise NotShownError(f"{name}: {check['verdict']}")
        return f"{name}: {check['figure']:+.3f} ({check['lower_bound']:+.3f} to {check['upper_bound']:+.3f})"

    return passed


def slices(place: Path) -> str:
    """Ask that slices of the hold-out are judged with bounds, and none is shown to be worse than the live model."""
    found = _read(place, paths.GATES).get("slices")
    if not found or not found["slices"]:
        raise NotShownError("models/gates.json judges no slice")
    # Without a live model there is nothing to be worse than; the weak slices are found against the rest of the hold-out.
    for name in ("every", "some"):
        if found[name] and found[name]["verdict"] == "failed":
            raise NotShownError(found[name]["sentence"])
    return f"{len(found['slices'])} slices with bounds, none failed"


def fairness(place: Path) -> str:
    """Ask that the gaps between the groups of every protected column are measured, and none is above its limit."""
    gates = _read(place, paths.GATES)
    if "fairness" not in gates:
        raise NotShownError("models/gates.json says nothing of fairness")
    if not gates["fairness"]:
        raise NotShownError("no column is marked `protected`, so no gap was measured")
    gaps = [gap for column in gates["fairness"] for gap in column["gaps"].values()]
    if failed := [gap for gap in gaps if gap["verdict"] == "failed"]:
        raise NotShownError(f"{len(failed)} of {len(gaps)} gaps between groups are above their limit")
    return f"{len(gaps)} gaps between groups measured, none above its limit"


def staleness(place: Path) -> str:
    """Ask that models of earlier months were measured on later ones, in this run or once for its table, and what follows."""
    found, by = _read(place, paths.STALENESS), ""
    if not found["sentence"]:
        found, by = _study(place, "staleness", f"no models of earlier months: {found['because']}"), "kept study: "
    if all(entry["verdict"] == UNDECIDED for entry in found["ages"]):
        raise NotShownError(f"no age is decided: {by}{found['sentence']}")
    return f"{by}{found['sentence']}"


# ── infrastructure ──
def pipeline_ran(place: Path) -> str:
    """Ask that all stages have run as they stand, and that the bundle is whole."""
    done = subprocess.run(["dvc", "status", "--json"], cwd=place, capture_output=True, text=True)
    if done.returncode:
        raise NotShownError(f"dvc status: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    changed = set(json.loads(done.stdout)) - {"champion"}  # which is asked at every run
    if changed:
        raise NotShownError(f"{len(changed)} stages have not run as they stand: {', '.join(sorted(changed))}")
    try:
        found = manifest.verify(place / paths.BUNDLE)
    except (BulkheadError, OSError) as error:
        raise NotShownError(f"the bundle: {error}") from error
    return f"every stage is up to date, and the bundle's {len(found.files)} files verify"


def approved(place: Path) -> str:
    """Ask that the bundle has the gates of the last evaluation, and they approve."""
    evaluated = _read(place, paths.GATES)
    if json.loads((place / paths.BUNDLE / bundled.GATES).read_bytes()) != evaluated:
        raise NotShownError("the bundle has the gates of another evaluation")
    if not evaluated["approved"]:
        raise NotShownError(f"the model is {evaluated['verdict']}")
    return f"{len(evaluated['checks'])} gates in the bundle, {evaluated['verdict']}"


def stepwise(place: Path) -> str:
    """Follow each golden request through encoder and model, and ask that the steps lead to its answer."""
    directory = place / paths.BUNDLE / manifest.ARTIFACT
    cases, predictor = json.loads((directory / "golden.json").read_bytes()), Predictor.load(directory)
    for number, case in enumerate(cases):
        scored, fallbacks = predictor.score_rows([case["row"]])
        scores = predictor.score_matrix(scored.matrix)
        if predictor.answers(scores, fallbacks) != [case["answer"]]:
            raise NotShownError(f"golden request {number} is answered otherwise step by step")
    return f"{len(cases)} golden requests followed through {len(predictor.schema.features)} features to their answers"


# ── monitoring ──
def finite(place: Path) -> str:
    """Ask that every score of the hold-out is a number."""
    from pipelines.data import tables

    if not (place / paths.PREDICTIONS).is_file():
        raise NotShownError(f"there is no {paths.PREDICTIONS}")
    table = tables.read(place / paths.PREDICTIONS)
    scores = [name for name, kind in table.schema.items() if kind.is_float() and name.startswith(("score", "model"))]
    values = [np.asarray(table[name].drop_nulls().to_numpy(), np.float64) for name in scores]
    if not values or not all(np.isfinite(each).all() for each in values):
        raise NotShownError("scores of the hold-out are missing or no numbers")
    return f"{sum(map(len, values)):,} scores of the hold-out are finite"
