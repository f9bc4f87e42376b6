"""`fleet --target kubernetes up | down | status | history | deploy | scale | promote | rollback`: the serving plane of a cluster."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract import command_line
from contract.errors import EXIT_RETRY, ConfigurationError
from fleet.configuration.changes import Cause, described
from fleet.configuration.settings import Settings
from fleet.configuration.state import Bounds

if TYPE_CHECKING:
    from fleet.kubernetes.cluster import ClusterFleet

OVERLAYS = Path(__file__).resolve().parent / "overlays"
_DEFAULT = "production"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code (`contract.errors`); `status` returns 75 while the fleet is not ready."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises, so that a half-done rollout is put back
    return command_line.run(lambda: _run(options), stopped=f"\nfleet {options.command} stopped", as_json=options.json)


def _run(options: argparse.Namespace) -> int:
    # Here, since `--help` must not take the half second of the client's imports, nor fail in the fleet's environment without it.
    from fleet.kubernetes import manifests
    from fleet.kubernetes.api import Api
    from fleet.kubernetes.cluster import ClusterFleet

    settings = Settings.read(os.environ)
    objects = manifests.render(_overlay(options.overlay))
    api = Api(options.context)
    change = Cause.person(options.why).entry(options.command)
    fleet = ClusterFleet(api, settings.open_store(), objects, _tell, change, force=options.force)
    if options.command == "history":
        entries = fleet.history()
        print(json.dumps([asdict(each) for each in entries]) if options.json else described(entries))
        return 0
    options.run(fleet, options)
    status = fleet.status()
    print(json.dumps(status) if options.json else describe(status))
    return EXIT_RETRY if options.command == "status" and not status["ready"] else 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _overlay(given: str) -> Path:
    named = OVERLAYS / given
    path = named if "/" not in given and named.is_dir() else Path(given)
    if not path.is_dir():
        raise ConfigurationError(f"there is no overlay {given}: name one of {OVERLAYS}, or a directory")
    return path


def _deploy(fleet: ClusterFleet, options: argparse.Namespace) -> None:
    for is_given, option in ((options.shadow, "--shadow"), (options.canary == "auto", "--canary auto")):
        if is_given:
            raise ConfigurationError(f"{option} is not supported on Kubernetes: no part of the cluster fulfils it")
    try:
        percent = None if options.canary is None else int(options.canary)
    except ValueError:
        raise ConfigurationError(f"--canary is {options.canary}; it must be 1 to 99 percent of the requests") from None
    fleet.deploy(options.bundle, options.image, percent, breaking=options.breaking)


def _replicas(least: int, most: int | None = None, *more: int) -> int | Bounds:
    if more:
        raise ConfigurationError("`scale` takes one number, or the least and the most")
    return least if most is None else Bounds(least, most)


def describe(status: dict[str, Any]) -> str:
    """Return a fleet's status as text."""
    lines = [f"cluster {status['cluster']}, namespace {status['namespace']}"]
    if live := status["live"]:
        lines.append(
            f"live    {live['digest'][:12]} from {live['image']}, {status['size']} to {status['most']} replicas"
        )
    if canary := status["canary"]:
        lines.append(
            f"canary  {canary['digest'][:12]} from {canary['image']} with {canary['percent']} % of the requests"
        )
    for each in status["replicas"]:
        health = "ready" if each["ready"] else f"not ready ({each['state']})"
        lines.append(f"        {each['name']:<40} {each['digest'][:12]} {health}")
    return "\n".join([*lines, *(f"problem {problem}" for problem in status["problems"])])


def _parser() -> argparse.ArgumentParser:
    common = command_line.Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the fleet's status, or the error, as JSON")
    common.add_argument("--context", help="of the kubeconfig; default: its current one")
    common.add_argument(
        "--overlay", default=_DEFAULT, help=f"one of fleet/kubernetes/overlays, or a directory; default {_DEFAULT}"
    )
    common.add_argument(
        "--force", action="store_true", help="take over fields that others have set, by hand for example"
    )
    common.add_argument("--why", default="", metavar="TEXT", help="the reason, for `history`")
    parser = command_line.Parser(prog="fleet --target kubernetes", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, text: str, run: Callable[[ClusterFleet, argparse.Namespace], object]
    ) -> argparse.ArgumentParser:
        """Add a subcommand."""
        added = commands.add_parser(name, help=text, description=text, parents=[common])
        added.set_defaults(run=run)
        return added

    up = command("up", "apply all manifests, as an administrator", lambda fleet, options: fleet.up(options.file))
    up.add_argument("--file", type=Path, help="a `fleet.yaml` to declare replicas, canary and limits from")
    command("down", "delete what serves, as an administrator; `up` serves it again", lambda fleet, _: fleet.down())
    command("status", "print what runs and what it serves", lambda *_: None)
    command("history", "print every change: who, why, and how it ended", lambda *_: None)
    deploy = command(
        "deploy",
        "serve a bundle: roll its image out, wait until all replicas are available, move `live`",
        _deploy,
    )
    deploy.add_argument(
        "bundle", help="a channel such as `candidate`, or a digest or its first eight characters or more"
    )
    deploy.add_argument(
        "--image", metavar="NAME@sha256:…", help="the image that holds it; default: the one of the last time"
    )
    deploy.add_argument(
        "--canary", metavar="PERCENT", help="serve it beside the live bundle, with this share of the requests"
    )
    # Of a fleet of one machine; it is refused in words.
    deploy.add_argument("--shadow", action="store_true", help=argparse.SUPPRESS)
    scale = command(
        "scale", "change how many replicas serve", lambda fleet, options: fleet.scale(_replicas(*options.replicas))
    )
    scale.add_argument(
        "replicas", type=int, nargs="+", metavar="N", help="a number, or two: the autoscaler's least and most"
    )
    promote = command(
        "promote", "make the canary the live bundle", lambda fleet, options: fleet.promote(breaking=options.breaking)
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
    return parser


if __name__ == "__main__":
    sys.exit(main())
