"""`python -m pipelines reproduce BUNDLE`: build a published bundle again, and compare the digests."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from contract.bundle import manifest
from contract.errors import BundleError, ConfigurationError
from pipelines.machine import scratch
from pipelines.machine.settings import open_store
from pipelines.paths import var_directory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `reproduce`, and `run`, a function of the options."""
    parser.add_argument("bundle", help="a channel such as `live`, or a digest or its first eight characters or more")
    parser.add_argument("--out", type=Path, help="new directory for the rebuilt bundle")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Rebuild a bundle of the store in a clean workspace.

    Raises:
        BundleError: an input is missing or differs, or the rebuilt bundle has another digest; with all differences.
        UnavailableError: the remote of DVC does not answer, or the environment cannot be installed.
    """
    from pipelines.commands.reproduce import differences, inputs, rebuild

    if options.out and options.out.exists():
        raise ConfigurationError(f"--out: {options.out} exists and is not overwritten; name another directory")
    store = open_store()
    digest = store.resolve(options.bundle)
    published = store.path(digest)
    with scratch.directory(var_directory() / "reproduced") as directory:
        found = inputs.gather(Path.cwd(), published, store, directory)
        rebuilt = rebuild.rebuild(found, directory)
        if options.out:
            shutil.copytree(rebuilt, options.out)
        if problems := differences.between(published, rebuilt):
            raise BundleError(
                f"{digest[:12]} is not reproduced: commit {found.commit[:12]} builds {manifest.digest_of(rebuilt)[:12]}",
                problems,
            )
    print(f"{digest} is reproduced by commit {found.commit[:12]} from {len(found.partitions)} partitions")
    return 0
