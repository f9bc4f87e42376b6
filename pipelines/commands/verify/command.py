"""`verify`: whether every byte that DVC keeps is as `dvc.lock` names it; what decayed is healed from a good copy."""

from __future__ import annotations

from pathlib import Path

from contract.errors import DataRejectedError
from pipelines.integrity.check import check
from pipelines.params.params import Params


def run(_params: Params) -> str:
    """Check and heal.

    Raises:
        DataRejectedError: naming the files of which no good copy is left.
        UnavailableError: the remote does not answer.
    """
    findings = check(Path.cwd())
    if findings.lost:
        raise DataRejectedError(
            f"{len(findings.lost)} files are not what dvc.lock names, and no good copy is left. The bad ones were removed: "
            "`dvc repro` makes them anew, partitions from the source",
            findings.lost,
        )
    if findings.healed:
        return f"{findings.checked} files checked; healed: {'; '.join(findings.healed)}"
    return f"{findings.checked} files are as dvc.lock names them"
