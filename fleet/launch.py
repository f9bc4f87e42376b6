"""`python -m fleet.launch BUNDLE DIGEST COMMAND …`: become a replica's server, if the bundle is still the one that was deployed.

Every start of a replica comes through here, supervisord's restarts too. The signature was verified when the bundle was copied; that
every byte still has its digest takes a fiftieth of a second. First, what an earlier server of that replica left is ended: when the
parent of a `bentoml serve` is killed, its worker lives on and holds the ports.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from contract import manifest
from contract.errors import EXIT_DATA, BundleError
from contract.files import write_atomically
from fleet.processes import FLEET_MARK, REPLICA_MARK, end

REFUSAL = "refused.txt"  # in a replica's directory: why its bundle was not started
_PATIENCE_S = 2.0


def main(bundle: Path, digest: str, command: list[str]) -> None:
    """Never returns: it becomes the command, or exits where the bundle is refused."""
    end({mark: os.environ[mark] for mark in (FLEET_MARK, REPLICA_MARK)}, _PATIENCE_S)
    refusal = Path(REFUSAL)
    try:
        manifest.verify(bundle, digest)
    except (BundleError, OSError) as error:
        print(f"not started: {error}", file=sys.stderr)
        write_atomically(refusal, str(error).encode())
        sys.exit(EXIT_DATA)
    refusal.unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    os.execve(command[0], command, environment)  # noqa: S606


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
