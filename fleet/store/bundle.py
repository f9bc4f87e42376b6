"""`bundle verify PATH | DIGEST | CHANNEL`: check a bundle's signature and its claims about itself."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from contract import command_line
from contract.bundle import evidence, manifest, signature
from contract.errors import ConfigurationError
from contract.store.store import Store
from fleet.configuration.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Print a verdict in one line and return the exit code (see `contract.errors`)."""
    options = _parser().parse_args(arguments)
    return command_line.run(lambda: _verify(options.bundle), stopped="refused", in_one_line=True)


def _verify(reference: str) -> int:
    settings = Settings.read(os.environ)
    print(verdict(locate(reference, settings.open_store()), settings.verify_keys()))
    return 0


def locate(reference: str, store: Store) -> Path:
    """Return the directory of that name, or the stored bundle of a digest or a channel."""
    path = Path(reference)
    if path.is_dir():
        return path.resolve()
    if os.sep in reference:
        raise ConfigurationError(f"there is no directory {reference}")
    return store.path(store.resolve(reference))


def verdict(bundle: Path, public_keys: Sequence[bytes]) -> str:
    """Check the signature over every byte, then the manifest, provenance and SBOM that it covers; return the verdict.

    Raises:
        BundleError: the first check that fails.
    """
    # First, so that nothing is parsed that somebody else may have written.
    key = signature.verify(bundle, public_keys)
    digest = manifest.digest_of(bundle)
    claims = manifest.verify(bundle, digest)
    evidence.check(bundle, claims)
    return (
        f"ok: {claims.name} {digest}: {len(claims.files)} files signed by key {signature.key_id(key)}; "
        "manifest, provenance and SBOM agree"
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(prog="bundle", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    text = "check signature, manifest, provenance and SBOM; nothing of the bundle is run"
    command = commands.add_parser("verify", help=text, description=text)
    command.add_argument(
        "bundle", help="a directory, a digest (its first 8 characters or more) or a channel of the store"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
