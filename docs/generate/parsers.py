"""`python -m docs.generate.parsers MODULE`: the commands of a program as JSON, read from its own argument parser.

It runs in the environment of that program, with nothing but the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import runpy
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn
from unittest import mock


def parser_of(module: str, named: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Run a module as far as it parses its arguments, and return its parser.

    Args:
        named: commands whose arguments the parser must have: `pipelines` imports what adds them only for a command that is named.
    """
    found: list[argparse.ArgumentParser] = []

    def stop(parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        found.append(parser)
        raise SystemExit

    # Behind `--`, no command is the first word, by which `pipelines` would enter the cgroup of training.
    with (
        mock.patch.object(sys, "argv", [module, "--", *named]),
        mock.patch.object(argparse.ArgumentParser, "parse_args", stop),
        contextlib.suppress(SystemExit),
    ):
        runpy.run_module(module, run_name="__main__")
    return found[0]


def commands(parser: argparse.ArgumentParser, name: str = "", text: str = "") -> Iterator[dict[str, Any]]:
    """Yield each command with its arguments; the commands of a command instead of it."""
    actions = [
        action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS
    ]
    nested = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    if not nested:
        yield {"name": name, "help": text, "arguments": [_argument(action) for action in actions]}
    for action in nested:
        texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for below, subparser in action.choices.items():
            yield from commands(subparser, f"{name} {below}".strip(), texts[below])


def _argument(action: argparse.Action) -> dict[str, Any]:
    value = "" if action.nargs == 0 else action.metavar or action.dest.upper()
    return {
        "name": f"{action.option_strings[0]} {value}".strip() if action.option_strings else value,
        "optional": (bool(action.option_strings) and not action.required) or action.nargs == "*",
        "help": action.help or "",
    }


if __name__ == "__main__":
    program = sys.argv[1]
    names = [each["name"] for each in commands(parser_of(program))]
    json.dump(list(commands(parser_of(program, names))), sys.stdout)
