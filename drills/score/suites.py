"""Runs of selected tests, one pytest for each environment, and their outcomes."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from drills.score.checks import Outcome
from harness import PROJECT, interpreter

# The environment that tests run in, by their folder.
ENVIRONMENTS = {
    "contract": "serving",
    "bentos": "serving",
    "fleet": "fleet",
    "dags": "orchestrator",
    "pipelines": "pipeline",
    "structure": "pipeline",
    "functional": "pipeline",
}
_LIMIT_S = 3600  # a machine may be busy with other work


def outcomes(tests: Iterable[str], place: Path) -> dict[str, Outcome]:
    """Run the tests, and return the outcome of each; one that cannot run has not passed.

    Args:
        place: directory with the results of a run, which the tests share.
    """
    by_environment, found = defaultdict(list), {}
    for test in sorted(set(tests)):
        if is_there(test):
            by_environment[ENVIRONMENTS[test.split("/")[0]]].append(test)
        else:
            found[test] = Outcome(False, f"there is no test {test}")
    for environment, chosen in by_environment.items():
        found |= _run(environment, chosen, place)
    return found


def is_there(test: str) -> bool:
    """Return whether the file of a test is there, and defines its function."""
    file, _, name = test.partition("::")
    path = PROJECT / "tests" / file
    return path.is_file() and (not name or re.search(rf"^def {name}\(", path.read_text(), re.MULTILINE) is not None)


def _run(environment: str, tests: list[str], place: Path) -> dict[str, Outcome]:
    python = interpreter(environment)
    if not python.exists():
        missing = Outcome(False, f"environment {environment} is not installed; `make test` installs it")
        return dict.fromkeys(tests, missing)
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        command = [str(python), "-m", "pytest", "--quiet", f"--junitxml={report}", *(f"tests/{test}" for test in tests)]
        ran = {
            # Relative, as in the Makefile: else a bundle that a test makes would list pytest among its packages.
            "PYTHONPATH": f".venv/test{os.pathsep}.",
            "BULKHEAD_TRAINING_WEIGHT": "none",
            "BULKHEAD_TEST_SLICE": str(place),
            "BULKHEAD_TEST_BUNDLE": str(place / "build/bundle"),
        }
        try:
            subprocess.run(command, cwd=PROJECT, env=os.environ | ran, capture_output=True, timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            return dict.fromkeys(tests, Outcome(False, f"the tests took over {_LIMIT_S} s"))
        cases = read(report)
    return {test: _outcome(test, cases) for test in tests}


def read(report: Path) -> dict[str, list[Outcome]]:
    """Return the outcomes in a report in the form of JUnit, by file and function; parameters of one function share an entry."""
    found: dict[str, list[Outcome]] = defaultdict(list)
    if not report.is_file():
        return found
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        file = f"{case.get('classname', '').removeprefix('tests.').replace('.', '/')}.py"
        name = case.get("name", "").split("[")[0]
        problem = next((entry for entry in case if entry.tag in ("failure", "error", "skipped")), None)
        words = (
            "" if problem is None else f"{name}: {problem.tag}: {(problem.get('message') or '').splitlines()[0][:120]}"
        )
        found[f"{file}::{name}"].append(Outcome(problem is None, words))
    return found


def _outcome(test: str, cases: dict[str, list[Outcome]]) -> Outcome:
    # A file stands for all of its tests.
    mine = [case for name, found in cases.items() if name == test or name.startswith(f"{test}::") for case in found]
    if not mine:
        return Outcome(False, f"{test} did not run")
    # A test that is skipped lacks what it needs, and shows nothing.
    return next((case for case in mine if not case.passed), Outcome(True))
