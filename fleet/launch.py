"""`python -m fleet.launch COMMAND …`: become a replica's server, after what an earlier server of that replica left has ended.

When the parent of a `bentoml serve` is killed, its worker lives on and holds the ports.
"""

from __future__ import annotations

import os
import sys

from fleet.processes import FLEET_MARK, REPLICA_MARK, end

_PATIENCE_S = 2.0


def main(command: list[str]) -> None:
    end({mark: os.environ[mark] for mark in (FLEET_MARK, REPLICA_MARK)}, _PATIENCE_S)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    os.execve(command[0], command, environment)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
