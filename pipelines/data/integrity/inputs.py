"""Check of a stage's inputs against `dvc.lock`, just before it reads them.

DVC may restore an earlier result from its run cache during a run, after the check at its start.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import yaml

from contract.errors import Problem, UnavailableError
from pipelines.data.integrity.objects import DIRECTORY, list_of, md5, md5_of, outputs


def check_inputs(root: Path, stage: str) -> None:
    """Hash the inputs of a stage of `dvc.yaml` that other stages wrote.

    Raises:
        UnavailableError: some inputs are corrupt; it names them, and a retry can help once they are repaired.
    """
    definition = yaml.safe_load((root / "dvc.yaml").read_bytes())["stages"].get(stage.split("@")[0], {})
    inputs = [Path(path) for path in definition.get("deps", ())]
    written = {path: oid for path, oid in outputs(root / "dvc.lock").items() if _is_read(path, inputs)}
    if changed := [path for path, oid in written.items() if not _is_as_written(root / path, oid)]:
        raise UnavailableError(
            f"inputs of {stage} are corrupt: they differ from dvc.lock. Run `python -m pipelines verify`, which repairs them or makes "
            "`dvc repro` compute them again",
            [Problem(None, str(path), "changed since it was written") for path in changed],
        )


def _is_read(output: Path, inputs: list[Path]) -> bool:
    return any(output.is_relative_to(path) or path.is_relative_to(output) for path in inputs)


def _is_as_written(path: Path, oid: str) -> bool:
    """Return whether a path matches its object; a missing one does, since the lock also names months not worked on."""
    if path.is_dir():
        return md5(BytesIO(list_of(path))) + DIRECTORY == oid
    return not path.is_file() or md5_of(path) == oid
