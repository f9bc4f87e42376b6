"""The search: trials by the journal, the processes and the sampler, and the verdict on them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from contract.files import sha256
from contract.schema import schema as feature_schema
from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.data.training import Rows
from pipelines.models import progress
from pipelines.models.rounds import Round
from pipelines.models.tuning import BETTER, shown
from pipelines.params.params import Params
from pipelines.stages.tune import journal, trials
from pipelines.stages.tune.processes import started
from pipelines.stages.tune.study import SAMPLER, Plan, Trial, proceed
from pipelines.stages.tune.verdict import FEWEST, judged

_PROJECT = Path(__file__).parents[3]
_CODE = (
    "pipelines/models/**/*.py",
    "pipelines/data/cuts.py",
    "pipelines/data/training.py",
    "pipelines/stages/tune/*.py",
)
_LIBRARIES = ("numpy", "optuna", "scikit-learn", "xgboost-cpu", "xgboost")


def searched(params: Params) -> tuple[dict[str, Any], str]:
    """Return the content of `models/tuning.json`, and a summary."""
    tune, train = params.tune, params.train
    schema = FeatureSchema.from_bytes((paths.FEATURES / feature_schema.FILE_NAME).read_bytes())
    rows = Rows(paths.TRAINING_ROWS)
    counts = np.bincount(trials.groups(rows), trials.weights(rows))
    space = tune.space_of(train.space)
    base = identity(params, rows)
    with journal.opened(paths.var_directory() / "tuning.journal") as storage:
        start = journal.start_of(storage, base, train.family, space) if tune.start == "last" else tune.start
        study = journal.study(storage, base, train.family, start)
        alone = {"threads": 1} if hasattr(train, "threads") else {}
        plan = Plan(
            train.model_copy(update=alone),
            space,
            [{}, *([start] if start else [])],
            tune.trials,
            tune.processes,
            float(counts.sum()),
        )
        with started(tune.processes, paths.TRAINING_ROWS, schema, params.target) as processes, progress.shown() as bar:
            found = proceed(study, plan, processes.outcomes, lambda done: bar(_round(done, tune.trials)))
        verdict, evidence = judged(found, counts, seed=train.seed)
        best = evidence["best"] if verdict == BETTER else {}
        study.set_user_attr("best", best)
    content = {
        "verdict": verdict,
        "parameters": best,
        "evidence": evidence,
        "start": start,
        "study": base,
        "trials": [{"parameters": one.parameters, "loss": one.loss, "rounds": one.rounds} for one in found],
    }
    return content, _told(found, verdict, evidence)


def identity(params: Params, rows: Rows) -> dict[str, Any]:
    """Return all that a trial depends on, but for the trials before it and the parameters to start from."""
    return {
        "sampler": SAMPLER,
        "pruner": trials.PRUNER,
        "processes": params.tune.processes,
        "space": {name: found.model_dump() for name, found in params.tune.space_of(params.train.space).items()},
        "settings": params.train.model_dump(mode="json", exclude={"threads", "memory"}),
        "target": params.target.model_dump(mode="json"),
        "data": _digest([paths.FEATURES / feature_schema.FILE_NAME, *rows.files]),
        "code": _code(),
        "versions": {name: found for name in _LIBRARIES if (found := _version(name))},
    }


def _code() -> str:
    """Return the digest of the code that searches, trains and scores."""
    return _digest([path for pattern in _CODE for path in sorted(_PROJECT.glob(pattern))])


def _digest(files: Sequence[Path]) -> str:
    """Return one SHA-256 of the files' names and contents."""
    return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path in files).encode()).hexdigest()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _round(done: Sequence[Trial], most: int) -> Round:
    return Round("search", len(done), most, min(one.loss for one in done if one.loss is not None), unit="trial")


def _told(found: Sequence[Trial], verdict: str, evidence: dict[str, Any]) -> str:
    pruned = sum(one.loss is None for one in found)
    told = [
        f"{len(found)} trials, {pruned} pruned",
        f"validation loss {evidence['loss_of_defaults']:.5f} by the defaults",
    ]
    if "best" in evidence:
        told.append(f"{evidence['loss']:.5f} by {shown(evidence['best'])}")
        told.append(f"gain {evidence['gain']:.5f}, at least {evidence['lower_bound']:.5f} with 95 % confidence")
    if evidence["clusters"] < FEWEST:
        told.append(f"the validation part has {evidence['clusters']} days, entities or rows, and {FEWEST} decide")
    return f"{', '.join(told)}: {verdict}"
