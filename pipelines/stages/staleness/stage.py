"""Stage `staleness`: models of earlier months, judged on the months after; by default none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from contract.files import canonical_json, write_atomically
from pipelines import paths
from pipelines.models.engines.checkpoints import Place
from pipelines.params.params import Params
from pipelines.stages.staleness.nothing import without

OFF = "evaluate.staleness is null in params.yaml"
_FEWEST_MONTHS = 3  # one to learn from, and two that judge: the second one a model of either age


def run(
    params: Params, kept: Place | None = None, scratch: Callable[[], AbstractContextManager[Path]] | None = None
) -> str:
    """Write `reports/staleness.json`: the figures by model and month, the losses by age, and a sentence on when to retrain.

    Without figures the sentence is null, and `because` says why. The hold-out is not looked at.

    Args:
        kept: trained models of earlier runs; a model is trained only once.
        scratch: makes an empty directory until the end of a block.
    """
    asked, months = params.evaluate.staleness, params.data.months
    encoded = [month for month in months if paths.training_rows(month).is_file()]
    if asked is None:
        content = without(OFF)
    elif len(encoded) < _FEWEST_MONTHS:
        content = without(
            f"{len(encoded)} of the {len(months)} months have rows outside of the hold-out, and {_FEWEST_MONTHS} are needed: add months to "
            "data.months"
        )
    else:
        # polars and XGBoost, for which nobody waits who measures nothing
        from pipelines.stages.staleness.measured import measured

        content = measured(params, asked, encoded, kept, scratch)
    write_atomically(paths.STALENESS, canonical_json(content))
    return str(content["sentence"] or f"not measured: {content['because']}")
