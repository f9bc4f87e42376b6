"""`python -m pipelines.runs COMMAND`: the run workspaces on their own."""

from __future__ import annotations

import argparse
import sys

from contract import disks
from contract.errors import BulkheadError
from pipelines.runs.cli import add_commands


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.runs", description=__doc__)
    add_commands(parser.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    options = parser.parse_args(arguments)
    try:
        with disks.explained():
            code: int = options.run_command(options)
    except BulkheadError as error:
        print(f"\n{options.command} stopped: {error}", file=sys.stderr)
        return error.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
