"""What a stage is about to read: compared with what the stage before it wrote, by `dvc.lock`.

DVC restores an earlier result from its run cache in the middle of a run, after any check of what `dvc.lock` named when it began.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import yaml

from contract.errors import Problem, UnavailableError
from pipelines.integrity.objects import DIRECTORY, list_of, md5, md5_of, outputs


def check_inputs(root: Path, stage: str) -> None:
    """Hash the inputs of a stage of `dvc.yaml` that other stages wrote.

    Raises:
        UnavailableError: naming what is not as it was written; it can be healed, so a retry can help.
    """
    definition = yaml.safe_load((root / "dvc.yaml").read_bytes())["stages"].get(stage.split("@")[0], {})
    inputs = [Path(path) for path in definition.get("deps", ())]
    written = {path: oid for path, oid in outputs(root / "dvc.lock").items() if _is_read(path, inputs)}
    if changed := [path for path, oid in written.items() if not _is_as_written(root / path, oid)]:
        raise UnavailableError(
            f"what {stage} reads is not what was written, by dvc.lock: a byte changed in DVC's cache or in the workspace. "
            "`python -m pipelines verify` heals it, or makes `dvc repro` compute it anew",
            [Problem(None, str(path), "changed since it was written") for path in changed],
        )


def _is_read(output: Path, inputs: list[Path]) -> bool:
    return any(output.is_relative_to(path) or path.is_relative_to(output) for path in inputs)


def _is_as_written(path: Path, oid: str) -> bool:
    """What is not there is not judged: the lock also names months that are not worked on."""
    if path.is_dir():
        return md5(BytesIO(list_of(path))) + DIRECTORY == oid
    return not path.is_file() or md5_of(path) == oid
