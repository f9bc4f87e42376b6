"""A refused partition leaves DVC, so that the next run collects it anew, and comes back from quarantine when it is replayed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from contract.errors import ConfigurationError
from contract.files import atomic_path
from pipelines import paths
from pipelines.integrity.check import cache_of
from pipelines.integrity.objects import Object, md5_of, outputs


def withdraw(partition: Path) -> None:
    """Remove a partition from the workspace and from DVC's cache; DVC would restore it, whatever the source has by now.

    Nothing happens where DVC did not start the stage: then nothing else than the file is there.
    """
    if "DVC_ROOT" in os.environ and partition.is_file():
        cache_of(Path(os.environ["DVC_ROOT"])).remove(Object(md5_of(partition), partition))
        partition.unlink()


def remove_others(months: Collection[str]) -> None:
    """Remove the partitions of months that are not worked on any more, which DVC leaves where they are.

    `validate` depends on the whole folder: with them its result would be another one than that of a fresh clone.
    """
    for path in paths.PARTITIONS.glob("*.parquet"):
        if "DVC_ROOT" in os.environ and path.stem not in months:
            path.unlink()


def put_back(copy: Path, partition: Path, root: Path) -> None:
    """Put the copy of a withdrawn partition where DVC takes it for what `collect` wrote.

    Raises:
        ConfigurationError: there is no copy, or the month has been collected anew since.
    """
    if not copy.is_file():
        raise ConfigurationError(
            f"{copy} is missing: the batch cannot be replayed; `dvc repro` collects its month anew"
        )
    entry = Object(md5_of(copy), partition)
    if outputs(root / "dvc.lock").get(partition) != entry.oid:
        raise ConfigurationError(f"{partition} was collected anew since: `dvc repro` goes on with what is there now")
    cache_of(root).replace(entry, copy)
    with atomic_path(partition) as temporary:
        shutil.copyfile(copy, temporary)
