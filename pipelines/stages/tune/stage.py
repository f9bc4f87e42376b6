"""Stage `tune`: a search for better settings of the family of models, on the rows before the hold-out; by default none."""

from __future__ import annotations

from contract.files import canonical_json, write_atomically
from pipelines import paths
from pipelines.models.tuning import OFF
from pipelines.params.params import Params


def run(params: Params) -> str:
    """Write `models/tuning.json`: the `parameters` that `train` applies, the `verdict` and its evidence, all trials, and the study.

    The finished trials are kept in `tuning.journal` below `BULKHEAD_VAR`; a killed search goes on after them.
    """
    content, told = {"verdict": OFF, "parameters": {}}, "off (tune.trials is 0)"
    if params.tune.trials:
        from pipelines.stages.tune.search import (
            searched,  # polars, numpy and SciPy, for which nobody waits who searches nothing
        )

        content, told = searched(params)
    write_atomically(paths.TUNING, canonical_json(content))
    return told
