"""The catalogue of faults names drills and tests that are there."""

from __future__ import annotations

import ast
import re

import pytest

from drills.faults import FAULTS, Fault
from harness import PROJECT


def test_faults_are_numbered() -> None:
    assert [fault.number for fault in FAULTS] == list(range(1, len(FAULTS) + 1))
    assert not [fault.number for fault in FAULTS if not fault.drills and not fault.tests]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.number))
def test_drills_and_tests_of_a_fault_are_there(fault: Fault) -> None:
    known = set(re.findall(r'^    "(\w+)": lambda', (PROJECT / "drills" / "__main__.py").read_text(), re.MULTILINE))
    assert known >= set(fault.drills)
    for test in fault.tests:
        file, name = test.split("::")
        functions = {
            node.name
            for node in ast.walk(ast.parse((PROJECT / "tests" / file).read_text()))
            if isinstance(node, ast.FunctionDef)
        }
        assert name in functions, test


def test_results_of_drills_name_faults_of_the_catalogue() -> None:
    named = {
        int(number)
        for path in (PROJECT / "drills").rglob("*.py")
        for number in re.findall(r"\b(?:Result|counted)\(\s*(\d+),", path.read_text())
    }
    assert len(named) > 10
    assert named - {0} <= {fault.number for fault in FAULTS}
