"""The check that a new bundle still serves the callers of the live one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from contract.bundle import manifest
from contract.errors import BundleError, ConfigurationError, Problem
from contract.model import compatibility
from contract.schema import schema
from contract.schema.schema import FeatureSchema

BundleOf = Callable[[str], Path]


def check(live: str | None, digest: str, bundle_of: BundleOf, *, breaking: bool) -> None:
    """Compare the bundle with the live one, before anything is changed.

    Args:
        bundle_of: returns a bundle's path, verified.

    Raises:
        ConfigurationError: it breaks callers and `breaking` is not set; with a list of the breaks.
    """
    if breaking or live is None or live == digest:
        return
    if problems := breaks(live, digest, bundle_of):
        raise ConfigurationError(
            f"{digest[:12]} breaks callers of the live bundle {live[:12]}; nothing was changed. Let the new model accept "
            "fields that it no longer reads for a time (serving.deprecated in params.yaml), or tell the callers and give --breaking",
            problems,
        )


def breaks(live: str, new: str, bundle_of: BundleOf) -> list[Problem]:
    """Return what breaks callers of the bundle `live` when the bundle `new` answers them."""
    after = read_schema(bundle_of(new))
    try:
        before = read_schema(bundle_of(live))
    # An unknown answer counts as a break, which the operator may overrule; a silent yes could not be.
    except BundleError as error:
        return [
            Problem(
                None,
                None,
                f"cannot tell what callers send today, since the live bundle is unreadable ({error.message})",
            )
        ]
    return compatibility.breaks(before, after)


def read_schema(bundle: Path) -> FeatureSchema:
    """Return the request schema of a bundle.

    Raises:
        BundleError: it has no schema that this version can read.
    """
    try:
        return FeatureSchema.from_bytes((bundle / manifest.ARTIFACT / schema.FILE_NAME).read_bytes())
    except OSError as error:
        raise BundleError(f"{bundle} holds no {schema.FILE_NAME}: {error.strerror}") from error
