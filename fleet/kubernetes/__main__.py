"""`fleet --target kubernetes up | down | status | history | deploy | scale | promote | rollback`: the serving plane of a cluster."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract import command_line
from contract.errors import EXIT_RETRY, ConfigurationError, UsageError
from fleet.configuration import verbs
from fleet.configuration.changes import Cause
from fleet.configuration.settings import Settings

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
    fleet = ClusterFleet(api, settings.open_store(), objects, command_line.tell, change, force=options.force)
    if options.command == "history":
        verbs.print_history(fleet.history(), as_json=options.json)
        return 0
    options.run(fleet, options)
    status = fleet.status()
    print(json.dumps(status) if options.json else describe(status))
    return EXIT_RETRY if options.command == "status" and not status["ready"] else 0


def _overlay(given: str) -> Path:
    named = OVERLAYS / given
    path = named if "/" not in given and named.is_dir() else Path(given)
    if not path.is_dir():
        raise ConfigurationError(f"there is no overlay {given}: name one of {OVERLAYS}, or a directory")
    return path


def _deploy(fleet: ClusterFleet, options: argparse.Namespace) -> None:
    # `--percent` is a shadow's; a canary's share is the value of `--canary`.
    refused = {
        "--shadow": options.shadow,
        "--percent": options.percent is not None,
        "--canary auto": options.canary == "auto",
    }
    for option, is_given in refused.items():
        if is_given:
            raise UsageError(f"{option} is not supported on Kubernetes: no part of the cluster fulfils it")
    fleet.deploy(options.bundle, options.image, options.canary, breaking=options.breaking)


def _canary(text: str) -> int | str:
    return text if text == "auto" else verbs.percent(text)


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
    common = verbs.common()
    common.add_argument("--context", help="of the kubeconfig; default: its current one")
    common.add_argument(
        "--overlay", default=_DEFAULT, help=f"one of fleet/kubernetes/overlays, or a directory; default {_DEFAULT}"
    )
    common.add_argument(
        "--force", action="store_true", help="take over fields that others have set, by hand for example"
    )
    common.add_argument("--why", default="", metavar="TEXT", help="the reason, for `history`")
    parser = command_line.parser(prog="fleet --target kubernetes", description=__doc__)
    commands = verbs.Verbs(parser, common)
    up = commands.add("up", "apply all manifests, as an administrator", lambda fleet, options: fleet.up(options.file))
    up.add_argument("--file", type=Path, help="a `fleet.yaml` to declare replicas, canary and limits from")
    commands.add("down", "delete what serves, as an administrator; `up` serves it again", lambda fleet, _: fleet.down())
    commands.add("status", "print what runs and what it serves")
    commands.add("history", "print every change: who, why, and how it ended")
    deploy = commands.add(
        "deploy",
        "serve a bundle: roll its image out, wait until all replicas are available, move `live`",
        _deploy,
    )
    verbs.add_bundle(deploy)
    deploy.add_argument(
        "--image", metavar="NAME@sha256:…", help="the image that holds it; default: the one of the last time"
    )
    deploy.add_argument(
        "--canary",
        type=_canary,
        metavar="PERCENT",
        help="serve it beside the live bundle, with this share of the requests",
    )
    # Of a fleet of one machine; a shadow is refused in words.
    deploy.add_argument("--shadow", action="store_true", help=argparse.SUPPRESS)
    deploy.add_argument("--percent", help=argparse.SUPPRESS)
    commands.add_scale()
    verbs.add_breaking(deploy, commands.add_promote())
    commands.add(
        "rollback", "remove the canary; without one, return to the previous bundle", lambda fleet, _: fleet.rollback()
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
