"""`verify`: check every file in `dvc.lock` for corruption, and restore it from a good copy."""

from __future__ import annotations

from pathlib import Path

from contract.errors import DataRejectedError
from pipelines.data.integrity.check import check
from pipelines.params.params import Params


def run(_params: Params) -> str:
    """Check and repair every file in `dvc.lock`.

    Raises:
        DataRejectedError: some files have no good copy; it names them.
        UnavailableError: the remote does not answer.
    """
    findings = check(Path.cwd())
    if findings.lost:
        raise DataRejectedError(
            f"{len(findings.lost)} files are corrupt and have no good copy. The corrupt ones were removed: "
            "`dvc repro` computes them again, partitions from the source",
            findings.lost,
        )
    if findings.repaired:
        return f"{findings.checked} files checked; repaired: {'; '.join(findings.repaired)}"
    return f"{findings.checked} files match dvc.lock"
