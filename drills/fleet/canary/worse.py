"""Bundles that are worse than the live one in a way that no check before the traffic finds, and traffic that finds it."""

from __future__ import annotations

import json
import random
import shutil
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from contract.bundle import manifest
from contract.files import canonical_json
from drills.fleet.fleets import corrected

# Rounds in the search for requests of low scores: rows kept in each, new ones of each of those, and fields that differ.
_ROUNDS, _KEPT, _CHILDREN, _CHANGED = 12, 10, 20, 3
_REQUESTS = 100
# The golden requests are answered rightly, which the server asks at its start and the fleet before the traffic.
_GOLDEN_ROUNDS = 3
_PREAMBLE = """

import itertools as _itertools
import random as _random
import time as _time

_asked = _itertools.count()


def _is_worse():
    return next(_asked) > {after}

"""
_ERRORS = """
_predict = Core.predict


def _failing(self, *given):
    if _is_worse() and _random.random() < {rate}:
        raise RuntimeError("a defect of this bundle")
    return _predict(self, *given)


Core.predict = _failing
"""
_SLOW = """
_answered = HttpApp._count


def _slow(self, request, outcome):
    if _is_worse():
        until = request.started + {factor} * (_time.perf_counter() - request.started)
        while _time.perf_counter() < until:
            pass
    _answered(self, request, outcome)


HttpApp._count = _slow
"""
_SCORES = """
_score_rows = Predictor.score_rows


def _other(self, rows):
    scored, fallbacks = _score_rows(self, rows)
    if _is_worse():
        scored = scored._replace(scores=np.clip({scores}, 0, 1).astype(np.float32))
    return scored, fallbacks


Predictor.score_rows = _other
"""
_CORE, _APP, _PREDICTOR = "bentos/core.py", "bentos/protocols/http/app.py", "contract/model/predictor.py"
FAULTS = {
    "5 % errors": (_CORE, _ERRORS.format(rate=0.05)),
    "1 % errors": (_CORE, _ERRORS.format(rate=0.01)),
    "30 % slower": (_APP, _SLOW.format(factor=1.3)),
    "shifted score": (_PREDICTOR, _SCORES.format(scores="scored.scores + 0.15")),
    "swapped label": (_PREDICTOR, _SCORES.format(scores="1 - scored.scores")),
}


def worse(source: Path, target: Path, fault: str) -> Path:
    """Make a bundle with a fault; it begins only after some requests, so every check before the traffic passes."""
    shutil.copytree(source, target)
    name, code = FAULTS[fault]
    path = target / "src" / name
    golden = json.loads((target / manifest.ARTIFACT / manifest.GOLDEN_FILE_NAME).read_bytes())
    path.write_text(path.read_text() + _PREAMBLE.format(after=_GOLDEN_ROUNDS * len(golden)) + code)
    return corrected(target)


def traffic(bundle: Path, port: int, target: Path) -> Path:
    """Write requests whose scores are spread, with the answers of the fleet at a port; return their directory, in a bundle's form.

    Golden requests try every category and bound, and nearly all have high scores. These recombine their values, round by round, with those
    rows kept whose scores are lowest.
    """
    golden = json.loads((bundle / manifest.ARTIFACT / manifest.GOLDEN_FILE_NAME).read_bytes())
    draw = random.Random(1)
    given = [case["row"] for case in golden]
    cases = [*zip(given, _asked(port, given), strict=True)]
    for _ in range(_ROUNDS):
        lowest = sorted(cases, key=lambda case: _score(case[1]))[:_KEPT]
        rows = [row | _some(draw.choice(given), draw) for row, _ in lowest for _ in range(_CHILDREN)]
        cases += zip(rows, _asked(port, rows), strict=True)
    least, most = (of(_score(answer) for _, answer in cases) for of in (min, max))
    # More low scores than high ones: otherwise swapped labels would be as frequent as before.
    wanted = [least + (most - least) * (turn / (_REQUESTS - 1)) ** 2 for turn in range(_REQUESTS)]
    chosen = [min(cases, key=lambda case: abs(_score(case[1]) - score)) for score in wanted]
    artifact = target / manifest.ARTIFACT
    artifact.mkdir(parents=True)
    content = [{"row": row, "answer": answer} for row, answer in chosen]
    (artifact / manifest.GOLDEN_FILE_NAME).write_bytes(canonical_json(content))
    return target


def _some(row: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    return {name: row[name] for name in draw.sample(sorted(row), min(_CHANGED, len(row)))}


def _score(answer: dict[str, Any]) -> float:
    return float(answer["probability"])


def _asked(port: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/predict", json.dumps({"rows": rows}), {"Content-Type": "application/json"})
        answers: list[dict[str, Any]] = json.loads(connection.getresponse().read())["predictions"]
    finally:
        connection.close()
    return answers
