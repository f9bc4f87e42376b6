"""Refused partitions: removed from DVC, so that the next run collects them again, and restored for a replay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from contract.errors import ConfigurationError
from contract.files import atomic_path
from pipelines import paths
from pipelines.data.integrity.check import cache_of
from pipelines.data.integrity.objects import Object, md5_of, outputs


def withdraw(partition: Path) -> None:
    """Remove a partition from the workspace and from DVC's cache, from which DVC would restore it.

    Without DVC, which did not start the stage then, nothing happens: there is only the file.
    """
    if "DVC_ROOT" in os.environ and partition.is_file():
        cache_of(Path(os.environ["DVC_ROOT"])).remove(Object(md5_of(partition), partition))
        partition.unlink()


def remove_others(months: Collection[str]) -> None:
    """Remove the partitions of months no longer worked on, which DVC leaves in place.

    `validate` depends on the whole folder, so with them its result would differ from that in a fresh clone.
    """
    for path in paths.PARTITIONS.glob("*.parquet"):
        if "DVC_ROOT" in os.environ and path.stem not in months:
            path.unlink()


def put_back(copy: Path, partition: Path, root: Path) -> None:
    """Restore a withdrawn partition from its copy, in workspace and cache, as if `collect` had written it.

    Raises:
        ConfigurationError: there is no copy, or the month has been collected again since.
    """
    if not copy.is_file():
        raise ConfigurationError(
            f"{copy} is missing: the batch cannot be replayed; `dvc repro` collects its month again"
        )
    entry = Object(md5_of(copy), partition)
    if outputs(root / "dvc.lock").get(partition) != entry.oid:
        raise ConfigurationError(f"{partition} was collected again since: `dvc repro` continues with the new one")
    cache_of(root).replace(entry, copy)
    with atomic_path(partition) as temporary:
        shutil.copyfile(copy, temporary)
