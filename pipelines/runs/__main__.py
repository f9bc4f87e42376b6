"""`python -m pipelines.runs COMMAND`: manage run workspaces."""

from __future__ import annotations

import sys

from contract import command_line
from pipelines.runs.cli import add_commands


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code (see `contract.errors`)."""
    parser = command_line.parser(prog="python -m pipelines.runs", description=__doc__)
    add_commands(parser.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    options = parser.parse_args(arguments)
    return command_line.run(lambda: options.run_command(options), stopped=f"\n{options.command} stopped")


if __name__ == "__main__":
    sys.exit(main())
