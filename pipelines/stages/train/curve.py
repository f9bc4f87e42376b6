"""The validation loss by round, as DVCLive writes it: `dvc plots show` draws it, during the training too."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from contract.files import write_atomically
from pipelines.models.rounds import Round

NAME = "validation_loss"
FILE = Path("plots/metrics", f"{NAME}.tsv")


class Curve:
    """A watch that writes `plots/metrics/validation_loss.tsv` in an emptied directory; the same rounds give the same bytes.

    A training that goes on from a checkpoint reports the rounds before it again, so nothing of an earlier attempt is kept. Without
    rounds the file has no rows.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._live: Any = None
        shutil.rmtree(directory, ignore_errors=True)
        write_atomically(directory / FILE, f"step\t{NAME}\n".encode())

    def __call__(self, at: Round) -> None:
        """Write the round; one without a loss is not on the curve."""
        if at.loss is None:
            return
        if self._live is None:
            self._live = _opened(self._directory)
        self._live.step = at.number
        # The last digits depend on the number of threads, which sum the losses in parts.
        self._live.log_metric(NAME, float(f"{at.loss:.9g}"))


def _opened(directory: Path) -> Any:
    from dvclive import Live

    # It would write into dvc.yaml, which declares the file already, and save an experiment of its own.
    return Live(str(directory), dvcyaml=None, save_dvc_exp=False)
