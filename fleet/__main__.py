"""`fleet up | status | deploy | scale | promote | rollback | history | costs | down`: the serving plane of this machine."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any

from contract import command_line
from contract.errors import EXIT_RETRY, ConfigurationError, UsageError
from fleet.configuration import history, verbs
from fleet.configuration.changes import Cause
from fleet.configuration.settings import PROJECT, Settings
from fleet.control.fleet import Fleet
from fleet.control.trial import IF_TRAFFIC, Judged, Trial
from fleet.monitoring import shadow, watch
from fleet.monitoring.costs import report
from fleet.monitoring.observer import Observer
from fleet.monitoring.status import DOWN, NOTHING


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code (`contract.errors`); `status` returns 75 while the fleet is not ready."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0].partition("=")[0] == "--target":
        return command_line.run(lambda: _elsewhere(given), stopped="fleet stopped", in_one_line=True)
    options = _parser().parse_args(given)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises, so that a half-done command is undone
    return command_line.run(lambda: _run(options), stopped=f"\nfleet {options.command} stopped", as_json=options.json)


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    settings = Settings.read(os.environ)
    if options.command == "history":
        verbs.print_history(history.read(settings.root), as_json=options.json)
        return 0
    if options.command == "costs":
        costs = Observer(settings).costs_now()
        print(json.dumps(costs) if options.json else report.text(costs))
        return 0
    if options.command == "status" and options.watch:
        return watch.run(settings, describe, as_json=options.json)
    cause = Cause.person(getattr(options, "why", ""))
    fleet = Fleet(settings, command_line.tell, cause)
    if options.command == "deploy":
        if options.percent and not options.shadow:
            raise UsageError("--percent needs --shadow; a canary's share is given by --canary PERCENT")
        if options.wait:
            return _deploy_and_wait(fleet, settings, options)
        if options.canary == IF_TRAFFIC:
            raise UsageError(f"--canary {IF_TRAFFIC} needs --wait")
    options.run(fleet, options)
    status = fleet.status()
    took = (
        "" if options.command == "status" else f"fleet {options.command}: done in {time.monotonic() - started:.1f} s\n"
    )
    print(json.dumps(status) if options.json else took + describe(status))
    return EXIT_RETRY if options.command == "status" and not status["ready"] else 0


def _deploy_and_wait(fleet: Fleet, settings: Settings, options: argparse.Namespace) -> int:
    """Deploy a bundle and wait for the judge's verdict, if there is a trial; print it, and fail if the bundle was rolled back."""
    if options.shadow or isinstance(options.canary, int):
        raise UsageError(
            "--wait needs `--canary auto` or `if-traffic`: without a judge there is no verdict to wait for"
        )
    digest = settings.open_store().resolve(options.bundle)
    trial = Trial(fleet, settings, digest, command_line.tell)
    ended = trial.run(options.canary, since=options.since, breaking=options.breaking)
    print(json.dumps(ended.outcome()) if options.json else f"{digest[:12]} is {ended.verdict}: {ended.why}", flush=True)
    ended.require()
    return 0


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-30T12:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _elsewhere(given: list[str]) -> int:
    """Run a command for the target that it names, in that target's environment, in place of this process."""
    target, rest = (given[0].partition("=")[2], given[1:]) if "=" in given[0] else ("".join(given[1:2]), given[2:])
    if target == "machine":
        return main(rest)
    if target != "kubernetes":
        raise UsageError(f"--target is {target!r}; it must be machine or kubernetes")
    python = PROJECT / ".venv" / target / "bin" / "python"
    if not python.exists():
        raise ConfigurationError(f"there is no {python}: `make .venv/{target}/installed.txt` makes this environment")
    return os.execv(python, [str(python), "-m", f"fleet.{target}", *rest])  # noqa: S606


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
    if status["shadow"]:
        lines.append(f"shadow  {shadow.described(status['shadow'])}")
    if status["isolation"]["problem"]:
        lines.append(f"open    {status['isolation']['problem']}")
    for entry in status["replicas"]:
        health = "ready" if entry["ready"] else f"not ready ({entry['state']})"
        lines.append(f"        {entry['name']:<12} {health:<22} pid {entry['pid']:<8} port {entry['admin_port']}")
    return "\n".join([*lines, *(f"problem {problem}" for problem in status["problems"] if problem != NOTHING)])


def _canary(text: str) -> int | Judged | None:
    if text == "none":
        return None
    return text if text in ("auto", IF_TRAFFIC) else verbs.percent(text)  # type: ignore[return-value]


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(prog="fleet", description=__doc__)
    # Read by `_elsewhere`; here for the help.
    parser.add_argument("--target", metavar="machine | kubernetes", help="whose fleet; default: of this machine")
    commands = verbs.Verbs(parser, verbs.common())
    up = _add_up(commands)
    status = commands.add("status", "print what runs and what it serves")
    text = "draw it anew every second, with the traffic of the last minute, until Ctrl-C"
    status.add_argument("--watch", action="store_true", help=text)
    deploy, scale, promote = _add_deploy(commands), commands.add_scale(), commands.add_promote()
    verbs.add_breaking(deploy, promote)
    text = "remove the canary; without one, return to the previous bundle"
    rollback = commands.add("rollback", text, lambda fleet, options: fleet.rollback(shadow=options.shadow))
    rollback.add_argument("--shadow", action="store_true", help="remove the shadow instead")
    for verb in (up, deploy, scale, promote, rollback):
        verb.add_argument("--why", default="", metavar="TEXT", help="the reason, for `fleet history`")
    commands.add("history", "print every change: who, why, on what evidence, and how it ended")
    commands.add("costs", "print what predictions cost by day, idle time included, beside the training")
    commands.add("down", "stop every process of the fleet", lambda fleet, _: fleet.down())
    return parser


def _add_up(commands: verbs.Verbs) -> argparse.ArgumentParser:
    up = commands.add(
        "up",
        "start the fleet; serve the live bundle as fleet.yaml says",
        lambda fleet, options: fleet.up(options.size, keep=options.keep, isolated=options.require_isolation),
    )
    up.add_argument("--size", type=verbs.replicas, metavar="N", help="replicas of the live bundle, as `fleet scale N`")
    for option, text in (
        ("--keep", "where fleet.yaml is refused, serve what served before: for the start of a machine"),
        ("--require-isolation", "declare `isolation: required`: refuse to start where replicas cannot be isolated"),
    ):
        up.add_argument(option, action="store_true", help=text)
    return up


def _add_deploy(commands: verbs.Verbs) -> argparse.ArgumentParser:
    deploy = commands.add(
        "deploy",
        "serve a bundle: start its replicas, check them, switch to them, drain the old ones",
        lambda fleet, options: fleet.deploy(
            options.bundle,
            options.canary,
            mirrored=(options.percent or 100) if options.shadow else None,
            breaking=options.breaking,
        ),
    )
    verbs.add_bundle(deploy)
    beside = deploy.add_mutually_exclusive_group()
    beside.add_argument(
        "--canary",
        type=_canary,
        metavar="PERCENT",
        help="serve it beside the live bundle, with this share of the requests; `auto`: a judge raises it from 1 to 100, or rolls back; "
        "`if-traffic`, with --wait: the same, but straight where nothing is live or fewer than 30 requests a second come; `none`: straight",
    )
    text = "send it copies of live requests; no caller sees its answers"
    beside.add_argument("--shadow", action="store_true", help=text)
    text = "with --shadow: mirror only this share of the requests; default 100"
    deploy.add_argument("--percent", type=lambda given: verbs.whole(given, 1, 100), metavar="PERCENT", help=text)
    text = "wait for the judge's verdict, and fail (65) if the bundle is rolled back; given again, join the same trial"
    deploy.add_argument("--wait", action="store_true", help=text)
    text = "with --wait: a verdict on this bundle since then (ISO 8601, UTC) is the answer, and no trial is begun"
    deploy.add_argument("--since", type=_moment, metavar="TIME", help=text)
    return deploy


if __name__ == "__main__":
    sys.exit(main())
