"""No figure of report and model card stands without its bounds, or the words that there is too little for them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from contract.files import canonical_json
from pipelines.params.params import Params
from pipelines.stages.evaluate.gates import decision
from pipelines.stages.evaluate.report import card, metrics, page
from pipelines.stages.evaluate.report.page import Found
from tests.pipelines.evaluate.report import shown
from tests.pipelines.evaluate.report.conftest import Evaluated
from tests.pipelines.evaluate.report.test_staleness_shown import MEASURED
from tests.pipelines.evaluate.slices.made import KINDS, given, predictions


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a page's time, and pictures have bands, which other tests see."""
    monkeypatch.setattr(page, "pictures", lambda *_: {})


_BEHAVIOUR = {"column": "place", "by": 1.5, "direction": "never_lower", "tolerance": 0.02, "allowed": 0.05}


def judged(evaluated: Evaluated, kind: str, *, days: int = 40, rows: int = 3000, **gates: Any) -> tuple[Params, Found]:
    """An evaluation of this kind of target with every section: live model, slices, groups, behaviour, staleness, and costs of labels."""
    found = predictions(kind, days=days, rows=rows)
    found = replace(found, changes=(np.where(np.arange(len(found.outcomes)) % 9 == 0, np.nan, -0.03),))
    count = {"binary": 2, "multiclass": 3}.get(kind, 0)
    costs = [[0 if actual == answer else actual + 1.25 for answer in range(count)] for actual in range(count)]
    more = {"decisions": {"costs": costs, "currency": "EUR"}} if count else {}
    grounds = given(kind, {"behaviour": [_BEHAVIOUR], **more}, **gates)
    decided = json.loads(canonical_json(decision.decide(found, grounds)))
    approval = evaluated.found.approval | decided | {"behaviour_golden": []}
    settings = {"target": grounds.target, "evaluate": grounds.evaluate, "gates": grounds.gates}
    judged_so = replace(evaluated.found, approval=approval, staleness=MEASURED, changes=[])
    return evaluated.params.model_copy(update=settings), judged_so


def unbounded(params: Params, found: Found) -> list[str]:
    """The figures of page and card that have neither bounds nor words."""
    declared = [
        params.model_dump(),
        float(f"{found.approval['best_threshold'] or 0:.4g}"),
        found.staleness and found.staleness["margin"],
    ]
    return [
        *shown.unbounded(shown.of_html(page.render(params, found)), declared),
        *shown.unbounded(shown.of_markdown(card.render(params, found)), declared),
    ]


@pytest.mark.parametrize("clusters", [20, 500], ids=["enough days", "too few days"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_has_its_bounds_or_the_words(evaluated: Evaluated, kind: str, clusters: int) -> None:
    params, found = judged(evaluated, kind, clusters=clusters)
    assert unbounded(params, found) == []
    cells = [block.text for block in shown.of_html(page.render(params, found)) if block.head]
    assert sum(bool(re.search(r"\d \(.+\)", text)) for text in cells) > 20


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_have_bounds_of_enough_days_alone_and_count_them(evaluated: Evaluated, kind: str) -> None:
    for clusters in (20, 500):
        params, found = judged(evaluated, kind, clusters=clusters)
        written = metrics.metrics(params.target, found.approval, 0, None)
        named = set(found.approval["figures"]) if clusters == 20 else set()
        assert (set(written["bounds"]), written["holdout"]["days"]) == (named, 40)
        assert all(set(each["bounds"]) <= named for each in written["against"].values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("days", "rows"), [(1, 3000), (5, 10), (1, 10)])
@pytest.mark.parametrize("kind", KINDS)
def test_hold_out_of_one_day_or_ten_rows_is_undecided_and_no_number_is_none(
    evaluated: Evaluated, kind: str, days: int, rows: int
) -> None:
    params, found = judged(evaluated, kind, days=days, rows=rows)
    assert {check["verdict"] for check in found.approval["checks"]} == {"undecided"}
    assert found.approval["verdict"] == "held"
    assert unbounded(params, found) == []
    texts = (page.render(params, found), card.render(params, found), canonical_json(found.approval).decode())
    assert not [
        name for text in texts for name in ("nan", "NaN", "inf ", "Infinity") if re.search(rf"\b{name}\b", text)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_membership_without_a_figure_is_left_out(evaluated: Evaluated, kind: str) -> None:
    params, found = judged(evaluated, kind, days=1)
    unknown = found.approval["membership"] | {"figures": {}}
    approval = found.approval | {"membership": unknown}
    written = metrics.metrics(params.target, approval, 0, None)["membership_inference"]
    assert written == {"members": unknown["members"], "bounds": {}, "against": {}}
    assert unbounded(params, replace(found, approval=approval)) == []


def test_report_of_a_stage_has_them_too(evaluated: Evaluated) -> None:
    assert unbounded(evaluated.params, evaluated.found) == []


def test_figure_that_loses_its_bounds_is_found(evaluated: Evaluated) -> None:
    whole = shown.of_html(evaluated.page)
    cells = [at for at, block in enumerate(whole) if re.search(r"\.\d+ \(.+ to .+\)", block.text)]
    for at in cells:
        bare = whole[at]._replace(text=re.sub(r" \(.+ to .+\)", "", whole[at].text))
        assert shown.unbounded([bare], {}), bare
    assert len(cells) > 20
    (said,) = shown.unbounded(shown.of_markdown("| slice | ROC-AUC |\n|---|---|\n| a 0.5 | 0.812 |\n"), {})
    assert said.startswith("0.812 in ")
