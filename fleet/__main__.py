"""`fleet up | status | deploy | scale | promote | rollback | down`: the serving plane of this machine."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from contract import command_line
from contract.errors import EXIT_RETRY
from fleet.configuration.settings import Settings
from fleet.control.fleet import Fleet
from fleet.monitoring.status import DOWN, NOTHING


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code (`contract.errors`); `status` returns 75 while the fleet is not ready."""
    options = _parser().parse_args(arguments)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # raises, so that `finally` clauses undo a half-done command
    return command_line.run(lambda: _run(options), stopped=f"\nfleet {options.command} stopped", as_json=options.json)


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    fleet = Fleet(Settings.read(os.environ), lambda line: print(line, file=sys.stderr, flush=True))
    options.run(fleet, options)
    status = fleet.status()
    took = (
        "" if options.command == "status" else f"fleet {options.command}: done in {time.monotonic() - started:.1f} s\n"
    )
    print(json.dumps(status) if options.json else took + describe(status))
    return EXIT_RETRY if options.command == "status" and not status["ready"] else 0


def describe(status: dict[str, Any]) -> str:
    """Return a fleet's status as text."""
    if not status["running"] and DOWN in status["problems"]:
        return "\n".join(status["problems"])
    live, canary = status["live"], status["canary"]
    lines = [
        f"HTTP    {status['http']}",
        f"gRPC    {status['grpc']}",
        f"live    {live['digest'][:12]} since {live['at']} by {live['by']}"
        if live
        else "live    nothing yet: `fleet deploy candidate`",
    ]
    if canary:
        served = {name: f"{each['errors']:,} of {each['requests']:,}" for name, each in canary["served"].items()}
        lines.append(
            f"canary  {canary['digest'][:12]} with {canary['percent']} % of the requests; failed {served['canary']}, live {served['live']}"
        )
    for entry in status["replicas"]:
        health = "ready" if entry["ready"] else f"not ready ({entry['state']})"
        lines.append(f"        {entry['name']:<12} {health:<22} pid {entry['pid']:<8} port {entry['admin_port']}")
    return "\n".join([*lines, *(f"problem {problem}" for problem in status["problems"] if problem != NOTHING)])


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the fleet's status, or the error, as JSON")
    parser = argparse.ArgumentParser(prog="fleet", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, run: Callable[[Fleet, argparse.Namespace], object]) -> argparse.ArgumentParser:
        """Add a subcommand."""
        added = commands.add_parser(name, help=text, description=text, parents=[common])
        added.set_defaults(run=run)
        return added

    up = command("up", "start the fleet; serve the live bundle", lambda fleet, options: fleet.up(options.size))
    up.add_argument("--size", type=int, help="replicas of the live bundle; default: as before, at first 2")
    command("status", "print what runs and what it serves", lambda *_: None)
    deploy = command(
        "deploy",
        "serve a bundle: start its replicas, check them, switch to them, drain the old ones",
        lambda fleet, options: fleet.deploy(options.bundle, options.canary, breaking=options.breaking),
    )
    deploy.add_argument(
        "bundle", help="a channel such as `candidate`, or a digest or its first eight characters or more"
    )
    deploy.add_argument(
        "--canary", type=int, metavar="PERCENT", help="serve it beside the live bundle, with this share of the requests"
    )
    scale = command("scale", "change how many replicas serve", lambda fleet, options: fleet.scale(options.size))
    scale.add_argument("size", type=int, metavar="N")
    promote = command(
        "promote",
        "make the canary the live bundle",
        lambda fleet, options: fleet.promote(breaking=options.breaking),
    )
    for verb in (deploy, promote):
        verb.add_argument(
            "--breaking",
            action=argparse.BooleanOptionalAction,
            default=False,
            help="allow a bundle that rejects or reads differently requests that the live bundle answers",
        )
    command(
        "rollback", "remove the canary; without one, return to the previous bundle", lambda fleet, _: fleet.rollback()
    )
    command("down", "stop every process of the fleet", lambda fleet, _: fleet.down())
    return parser


if __name__ == "__main__":
    sys.exit(main())
