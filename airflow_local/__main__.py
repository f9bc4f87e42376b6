"""Entry of `bin/airflow-local`; its commands are in `airflow_local.commands`."""

from __future__ import annotations

import sys

from contract import command_line


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    return command_line.run(lambda: _run(arguments), stopped=f"airflow-local {arguments[0]} stopped", in_one_line=True)


def _run(arguments: list[str]) -> int:
    # Not at the top: whatever the environment has wrong is found when this is imported.
    from airflow_local import commands

    return commands.run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["--help"]))
