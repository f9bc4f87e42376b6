"""Arguments of the verbs of `fleet` that are the same for every target, a machine or a cluster."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from contract import command_line
from contract.errors import UsageError
from fleet.configuration.changes import Entry, described
from fleet.configuration.declaration import MOST_REPLICAS
from fleet.configuration.state import Bounds


def common() -> argparse.ArgumentParser:
    """Return the parser of the options of every verb."""
    parser = command_line.parser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print the fleet's status, or the error, as JSON")
    return parser


class Verbs:
    """The verbs of a parser; each sets `run`, a function of a fleet and the options.

    Args:
        parents: the parser of the options of every verb.
    """

    def __init__(self, parser: argparse.ArgumentParser, parents: argparse.ArgumentParser) -> None:
        self._commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        self._parents = [parents]

    def add(
        self, name: str, text: str, run: Callable[[Any, argparse.Namespace], object] = lambda *_: None
    ) -> argparse.ArgumentParser:
        """Add a verb."""
        added = self._commands.add_parser(name, help=text, description=text, parents=self._parents)
        added.set_defaults(run=run)
        return added

    def add_scale(self) -> argparse.ArgumentParser:
        """Add `scale`."""
        scale = self.add(
            "scale", "change how many replicas serve", lambda fleet, options: fleet.scale(_replicas(options))
        )
        scale.add_argument(
            "replicas", type=replicas, nargs="+", metavar="N", help="a number, or two: the autoscaler's least and most"
        )
        return scale

    def add_promote(self) -> argparse.ArgumentParser:
        """Add `promote`."""
        return self.add(
            "promote",
            "make the canary the live bundle",
            lambda fleet, options: fleet.promote(breaking=options.breaking),
        )


def whole(text: str, least: int, most: int) -> int:
    """Return an argument that must be a whole number from `least` to `most`."""
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {least} to {most}")
    return int(text)


def replicas(text: str) -> int:
    """Return an argument that is a number of replicas."""
    return whole(text, 1, MOST_REPLICAS)


def percent(text: str) -> int:
    """Return an argument that is a canary's share of the requests."""
    return whole(text, 1, 99)


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add the bundle that a verb is about."""
    parser.add_argument(
        "bundle", help="a channel such as `candidate`, or a digest or its first eight characters or more"
    )


def add_breaking(*parsers: argparse.ArgumentParser) -> None:
    """Add `--breaking`."""
    for parser in parsers:
        parser.add_argument(
            "--breaking",
            action=argparse.BooleanOptionalAction,
            default=False,
            help="allow a bundle that rejects or reads differently requests that the live bundle answers",
        )


def print_history(entries: Sequence[Entry], *, as_json: bool) -> None:
    """Print the changes of a fleet."""
    print(json.dumps([asdict(each) for each in entries]) if as_json else described(entries))


def _replicas(options: argparse.Namespace) -> int | Bounds:
    least, *most = options.replicas
    if len(most) > 1 or any(each < least for each in most):
        raise UsageError("`fleet scale` takes one number, or the least and the most")
    return Bounds(least, *most) if most else int(least)
