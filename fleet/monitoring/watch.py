"""`fleet status --watch`: the fleet in a terminal, drawn anew every second; a block of lines each time where the output is no terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from contract.errors import BulkheadError
from fleet.configuration.settings import Settings
from fleet.monitoring import observer
from fleet.monitoring.costs.report import amount
from fleet.monitoring.observer import Observer

_PERIOD_S = 1.0
_DEPLOYMENTS = 3
_COLOURS = {r"\bnot ready\b.*?(?=  )": 31, r"(?<!not )\bready\b": 32, "^problem": 31}


def run(settings: Settings, describe: Callable[[dict[str, Any]], str], *, as_json: bool) -> int:
    """Show the fleet until Ctrl-C or until nobody reads any more, and return the exit code.

    Args:
        describe: returns a status as text.
        as_json: print a line of JSON each time.
    """
    watched = Observer(settings)
    try:
        while True:
            started = time.monotonic()
            snapshot = _look(watched)
            if as_json:
                print(json.dumps(snapshot), flush=True)
            else:
                shown = [time.strftime("%F %T"), *_status(snapshot["status"], describe), *lines(snapshot)]
                # A name in the history may hold what moves a terminal's cursor.
                _draw(["".join(sign if sign.isprintable() else "?" for sign in line) for line in shown])
            time.sleep(max(0.0, started + _PERIOD_S - time.monotonic()))
    except KeyboardInterrupt:
        print()
    except BrokenPipeError:
        # Otherwise Python complains about it once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _look(watched: Observer) -> dict[str, Any]:
    try:
        watched.measure()
        return watched.look()
    except BulkheadError as error:
        return observer.failure(error)


def _status(found: dict[str, Any], describe: Callable[[dict[str, Any]], str]) -> list[str]:
    # One that could not be looked at has only its problems.
    return describe(found).splitlines() if "http" in found else [f"problem {problem}" for problem in found["problems"]]


def lines(snapshot: Mapping[str, Any]) -> list[str]:
    """Return what a snapshot has beyond the status; – where something is not known."""
    if "traffic" not in snapshot:
        return []
    shown = [f"traffic {_traffic(snapshot['traffic']['now'])}, as callers saw it in the last minute"]
    shown += [f"        {each['role']:<12} {_traffic(each)}" for each in snapshot["versions"]]
    if judged := snapshot["canary"]:
        limits = judged.get("thresholds") or {}
        evidence = [
            f"{kind} {amount(value)} of {amount(limits.get(kind))}"
            for kind, value in (judged.get("evidence") or {}).items()
        ]
        shown.append(_sentence("judge  ", judged.get("verdict"), ", ".join(evidence), judged.get("why")))
    if scaling := snapshot["scaling"]:
        ready = f"{_count(scaling['ready'])} ready, " if "ready" in scaling else ""  # a fixed number is not measured
        wanted = f"{ready}{_count(scaling.get('desired'))} wanted"
        shown.append(_sentence("scaling", scaling.get("mode"), wanted, scaling.get("why")))
    costs = snapshot["costs"]
    shown.append(
        f"cost    {amount(costs['total']['money_per_million'])} {costs['prices']['currency']} for a million predictions, "
        f"idle time included; the seed: {amount(costs['seed']['per_million'])} {costs['seed']['currency']}"
    )
    for entry in snapshot["history"][:_DEPLOYMENTS]:
        bundle = str(entry.get("bundle") or "")[:12]
        what = " ".join(str(each) for each in (entry.get("verb"), bundle) if each)
        shown.append(
            _sentence("history", entry.get("at"), what, f"by {entry.get('by')}", entry.get("verdict"), entry.get("why"))
        )
    return shown


def _sentence(name: str, *parts: object) -> str:
    return f"{name} {'; '.join(str(part) for part in parts if part)}"


def _traffic(figures: Mapping[str, float | None]) -> str:
    rates = f"{_rate(figures['requests_per_s'])} requests/s, {_rate(figures['errors_per_s'])} errors/s"
    return f"{rates}, p50 {_time(figures['p50_s'])}, p99 {_time(figures['p99_s'])}"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:,.2f} ms"


def _draw(shown: Iterable[str]) -> None:
    if not sys.stdout.isatty():
        print("\n".join([*shown, ""]), flush=True)
        return
    size = shutil.get_terminal_size()
    # A longer line would wrap, and a longer block scroll: then the next one would not cover it.
    fitting = [_coloured(line[: size.columns]) for line in shown][: size.lines - 1]
    print("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in fitting) + "\x1b[J", end="", flush=True)


def _coloured(line: str) -> str:
    # Source: https://no-color.org
    if os.environ.get("NO_COLOR"):
        return line
    for pattern, code in _COLOURS.items():
        line = re.sub(pattern, f"\x1b[{code}m\\g<0>\x1b[0m", line)
    return line
