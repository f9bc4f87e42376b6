"""The scores at the end of `make up`."""

from __future__ import annotations

from pathlib import Path

from contract.files import canonical_json, write_atomically
from pipelines import paths
from pipelines.commands.summary import command as summary
from pipelines.params.params import Params


def test_score_has_its_bounds_or_the_words_that_there_is_too_little_for_them(workspace: Path, params: Params) -> None:
    prior = {"roc_auc": 0.5, "bounds": {"roc_auc": {"lower_bound": 0.45, "upper_bound": 0.55}}}
    metrics = {"roc_auc": 0.75, "bounds": {}, "against": {"prior": prior}, "holdout": {"rows": 10}}
    write_atomically(paths.METRICS, canonical_json(metrics))
    (line,) = (line for line in summary.run(params, fleet=False).splitlines() if line.startswith("ROC-AUC"))
    assert "0.7500 (too few for bounds)" in line
    assert "0.5000 (0.4500 to 0.5500)" in line
