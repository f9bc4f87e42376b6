"""`store list | show | diff | path | gc | init`: the bundle store, for its operators."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from contract import command_line
from contract.store.place import Entry
from contract.store.store import Store
from fleet.configuration import state
from fleet.configuration.settings import Settings
from fleet.store import diff as bundle_diff
from fleet.store import report, retention, users
from fleet.store.installed import Installed
from fleet.supervisor.lock import exclusive

_GRACE_HOURS = 24.0
_REFERENCE = "a channel, or a digest or its first eight characters or more"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code (see `contract.errors`)."""
    options = _parser().parse_args(arguments)
    return command_line.run(lambda: _run(options), stopped=f"store {options.command} stopped", as_json=options.json)


def _run(options: argparse.Namespace) -> int:
    settings = Settings.read(os.environ)
    found, text = options.run(settings.open_store(), settings, options)
    print(json.dumps(found) if options.json else text)
    return 0


def _list(store: Store, _settings: Settings, _options: argparse.Namespace) -> tuple[Any, str]:
    rows = report.rows(store)
    return {"store": store.location, "bundles": rows}, report.table(rows) or f"{store.location} is empty"


def _show(store: Store, settings: Settings, options: argparse.Namespace) -> tuple[Any, str]:
    found = report.details(store, store.resolve(options.bundle), settings.verify_keys())
    return found, report.describe(found)


def _diff(store: Store, _settings: Settings, options: argparse.Namespace) -> tuple[Any, str]:
    sides = [bundle_diff.side(store, store.resolve(reference)) for reference in (options.a, options.b)]
    found = bundle_diff.difference(*sides)
    return found, bundle_diff.describe(found)


def _path(store: Store, _settings: Settings, options: argparse.Namespace) -> tuple[Any, str]:
    path = str(store.path(store.resolve(options.bundle)))
    return {"path": path}, path


def _gc(store: Store, settings: Settings, options: argparse.Namespace) -> tuple[Any, str]:
    kept = state.load(settings.state)
    # The fleet's state besides the store's channels: a fleet may be behind a channel, or serve from another store.
    in_use = {entry.digest for entry in kept.replicas} | set(kept.counts)
    rule = retention.Rule(datetime.now(UTC), options.grace_hours, frozenset(in_use))
    garbage = retention.find(store, rule)
    if options.delete:
        garbage = retention.delete(store, garbage, rule)
    garbage = replace(garbage, installed=tuple(_swept(store, settings, rule, options.delete)))
    return garbage.as_dict(options.delete), garbage.describe(options.delete)


def _swept(store: Store, settings: Settings, rule: retention.Rule, delete: bool) -> list[Entry]:
    has_fleet = settings.root.is_dir()
    # Under the fleet's lock: a command may be installing what would be deleted here.
    with exclusive(settings.root, command_line.tell) if has_fleet else nullcontext():
        installed = Installed(settings.root, store)
        found = [entry for entry in installed.unneeded(store.needed() | rule.in_use) if not rule.spares(entry)]
        if delete:
            installed.remove(found)
    return found


def _init(store: Store, _settings: Settings, options: argparse.Namespace) -> tuple[Any, str]:
    training, fleet = users.user(options.training), users.user(options.fleet)
    users.share(store, training, fleet)
    text = f"{store.location}: {training} puts bundles and moves `candidate`, {fleet} moves `live`, everybody reads"
    return {"store": store.location, "training": training.uid, "fleet": fleet.uid}, text


def _parser() -> argparse.ArgumentParser:
    common = command_line.parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON, the error too")
    parser = command_line.parser(prog="store", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., tuple[Any, str]], text: str) -> argparse.ArgumentParser:
        """Add a subcommand."""
        added = commands.add_parser(name, help=text, description=text, parents=[common])
        added.set_defaults(run=run)
        return added

    command("list", _list, "list every bundle with its name, age, size and channels")
    show = command("show", _show, "describe one bundle and verify its signature")
    show.add_argument("bundle", help=_REFERENCE)
    diff = command("diff", _diff, "show how inputs and scores of two bundles differ")
    diff.add_argument("a", help=_REFERENCE)
    diff.add_argument("b", help=_REFERENCE)
    path = command("path", _path, "print the bundle's verified path on this machine; fetch it if the store is a bucket")
    path.add_argument("bundle", help=_REFERENCE)
    collect = command("gc", _gc, "list what no channel needs any more; with --delete, delete it")
    collect.add_argument("--delete", action="store_true", help="delete what is listed; without this nothing changes")
    collect.add_argument(
        "--grace-hours",
        type=_hours,
        default=timedelta(hours=_GRACE_HOURS),
        metavar="H",
        help=f"keep what is younger, since a channel may be about to move to it; default {_GRACE_HOURS:g}",
    )
    init = command("init", _init, "give a directory to two users, as root: one for each plane")
    init.add_argument("--training", required=True, metavar="USER", help="puts bundles and moves `candidate`")
    init.add_argument("--fleet", required=True, metavar="USER", help="moves `live`")
    return parser


def _hours(text: str) -> timedelta:
    if not text.replace(".", "", 1).isdecimal() or float(text) > 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours, 0 to a million")
    return timedelta(hours=float(text))


if __name__ == "__main__":
    sys.exit(main())
