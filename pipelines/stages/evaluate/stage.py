"""Stage `evaluate`: the exported model, scored on the hold-out by the code that serves it, against baselines and the live model."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from typing import Any

import polars as pl

from contract.errors import ModelRejectedError, Problem
from contract.files import canonical_json, sha256, write_atomically
from contract.model.predictor import MODEL_FILE_NAME
from pipelines import paths
from pipelines.data.integrity.objects import md5_of
from pipelines.machine import looks
from pipelines.machine.looks import Look
from pipelines.params.params import Params
from pipelines.stages.evaluate import holdout, live, membership
from pipelines.stages.evaluate.behaviour import evidence as behaviour
from pipelines.stages.evaluate.gates import decision, gate
from pipelines.stages.evaluate.gates.figures import Given
from pipelines.stages.evaluate.gates.predictions import Predictions
from pipelines.stages.evaluate.holdout import Holdout
from pipelines.stages.evaluate.live import Live
from pipelines.stages.evaluate.report import card, curves, lineage, metrics, page, sentences
from pipelines.stages.evaluate.report.effects import effects
from pipelines.stages.evaluate.slices import groups
from pipelines.statistics import calibration
from pipelines.statistics.measures import MEASURES, Scores
from pipelines.statistics.tasks import Judgement, judgement

_BAND_RESAMPLES = 500  # a picture shows no more


def run(params: Params) -> str:
    """Write metrics, plots, report and the evidence of the gates, whatever the verdict.

    Raises:
        ModelRejectedError: a check failed, or a person has to decide; with the reasons.
    """
    threading.Thread(target=_import_libraries).start()  # a second of one core, beside the scoring
    training = json.loads(paths.TRAINING.read_bytes())
    champion, screening = live.champion(), json.loads(paths.SCREENING.read_bytes())
    data, target, judged = params.data, params.target, judgement(params.target)
    held, members = holdout.load(data, target, params.split, params.features, champion["learned"], params.train.seed)
    models = holdout.models()
    scores = holdout.scores(held, models, training["prior"])
    beside = live.judge(champion["digest"], data, target, params.features, params.serving.deprecated, held)
    tried = behaviour.collect(params.evaluate.behaviour, params.features, models["model"], held, scores["model"])
    apart = groups.all_groups(held.table, params.evaluate.slices, data.columns, search=params.evaluate.weak_slices > 0)
    predictions = replace(_predictions(held, scores, beside, apart), changes=tried.changes)
    if scaling := training.get("recalibration"):
        recalibrated = calibration.rescaled(scores["model"], scaling["slope"], scaling["intercept"])
        predictions = replace(predictions, scores={**predictions.scores, "recalibrated": recalibrated})
    predictions.write(paths.PREDICTIONS)
    given = Given(
        target,
        params.evaluate,
        params.gates,
        params.train.seed,
        held.unit,
        training.get("splits"),
        champion["digest"],
        beside.because if beside else (),
    )
    look = Look(held.digest, sha256(paths.BOOSTED / MODEL_FILE_NAME))
    approval = decision.decide(predictions, given) | {
        "learned": held.rule,
        "breaks": list(beside.breaks) if beside else [],
        "suspects": {
            name: evidence for name, evidence in screening["suspects"].items() if name not in params.gates.reviewed
        },
        "effects": effects(
            held, models["model"], params.train.family, resamples=params.evaluate.bootstrap, seed=params.train.seed
        ),
        "behaviour_golden": tried.golden,
        "recalibrated": training.get("recalibration"),
        "membership": {
            "members": len(members.outcomes),
            "figures": membership.inference(
                judged,
                (members.outcomes, holdout.scores(members, models, training["prior"])),
                (held.outcomes, scores),
                members.clusters,
                resamples=params.evaluate.bootstrap,
                seed=params.train.seed,
            ),
        },
        "look": looks.as_json(look),
        "predictions": {"md5": md5_of(paths.PREDICTIONS), "rows": len(held.outcomes)},
    }
    # Before anybody can read a figure; a rejected model is a look too.
    counted = looks.told(looks.record(look, approval["verdict"]), params.gates.looks)
    times = None if data.time is None else held.table[data.time]
    found = metrics.metrics(target, approval, held.unlabelled, times)
    write_atomically(paths.REPORTS / "behaviour.json", canonical_json(tried.examples))
    _write(params, held, predictions, found, approval, training, screening)
    return f"{_verdict(judged, approval)}\n  {counted}"


def _write(
    params: Params,
    held: Holdout,
    predictions: Predictions,
    measured: dict[str, Any],
    approval: dict[str, Any],
    training: dict[str, Any],
    screening: dict[str, Any],
) -> None:
    """Write metrics, plots, the evidence of the gates, and the pages for people."""
    target, scores = params.target, predictions.scores["model"]
    drawn = curves.curves(target, held.outcomes, scores, training["importance"])
    shutil.rmtree(paths.PLOTS, ignore_errors=True)
    for name in curves.FIELDS:  # DVC warns of a missing file that dvc.yaml names
        write_atomically(paths.PLOTS / f"{name}.csv", curves.to_csv(name, drawn.get(name, [])))
    write_atomically(paths.METRICS, canonical_json(measured))
    write_atomically(paths.GATES, canonical_json(approval))
    found = page.Found(
        metrics=measured,
        approval=approval,
        curves=drawn,
        bands=curves.bands(
            target, held.outcomes, scores, held.clusters, resamples=_BAND_RESAMPLES, seed=params.train.seed
        ),
        effects=approval["effects"],
        lineage=lineage.lineage(params, held, screening),
        changes=lineage.changes(),
        training=training,
        # Absent in tests of `evaluate` alone.
        staleness=json.loads(paths.STALENESS.read_bytes()) if paths.STALENESS.exists() else None,
    )
    shown = page.render(params, found).encode()
    write_atomically(paths.VERDICT, shown)
    # An output of `bundle`, which never runs for a model that is not approved.
    write_atomically(paths.EVALUATION, shown)
    write_atomically(paths.MODEL_CARD, card.render(params, found).encode())


def _import_libraries() -> None:
    import matplotlib.backends.backend_svg  # noqa: F401
    import sklearn.metrics  # noqa: F401


def _predictions(
    held: Holdout, scores: dict[str, Scores], beside: Live | None, apart: dict[str, pl.Series]
) -> Predictions:
    if beside is None or beside.scores is None:
        return Predictions(held.outcomes, held.clusters, scores, None, groups=apart)
    return Predictions(held.outcomes, held.clusters, {**scores, "live": beside.scores}, beside.unseen, groups=apart)


def _verdict(judged: Judgement, approval: dict[str, Any]) -> str:
    checks, digest = approval["checks"], approval["champion"]
    if approval["verdict"] == "rejected":
        failed = [check for check in checks if check["verdict"] == gate.FAILED] or _undecided(checks)
        what = "failed" if failed[0]["verdict"] == gate.FAILED else "did not decide (gates.undecided: reject)"
        raise ModelRejectedError(
            f"the model is rejected: {len(failed)} of {len(checks)} checks {what}; the live model stays. "
            f"Evidence: {paths.VERDICT}{_said(approval)}",
            [Problem(None, None, gate.reason(check)) for check in failed],
        )
    if approval["verdict"] == "held":
        open_ = _undecided(checks)
        raise ModelRejectedError(
            f"the model is held until a person decides: {len(open_)} of {len(checks)} checks did not decide; the live model stays. "
            f"Evidence: {paths.VERDICT}{_said(approval)}",
            [Problem(None, None, f"{gate.reason(check)}. To go on: {gate.remedy(check, digest)}") for check in open_],
        )
    key = judged.headline
    shown = {"": approval["figures"], "linear baseline ": approval["baselines"]["linear"]}
    figures = "; ".join(f"{name}{sentences.figure(each[key], '{:.4f}')}" for name, each in shown.items())
    return f"{MEASURES[key].title} {figures}; {gate.summary(checks, digest)}{_said(approval)}"


def _undecided(checks: list[gate.Check]) -> list[gate.Check]:
    """Return the checks that did not decide, and that nobody has accepted."""
    return [check for check in checks if check["verdict"] != gate.PASSED and not check.get("accepted")]


def _said(approval: dict[str, Any]) -> str:
    """Return warnings that no check covers, each on a line of its own."""
    said = list(approval["weak"])
    said += [f"suspected leak: {name}, {evidence}" for name, evidence in approval["suspects"].items()]
    said += [f"breaks callers of the live model: {what}" for what in approval["breaks"]]
    return "".join(f"\n  {line}" for line in said)
