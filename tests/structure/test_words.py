"""The docstrings of the sources: those of functions and modules open with a verb or a noun, and public names have one.

That functions open with a verb in the imperative is ruff's rule D401.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

from harness import PROJECT

SWEPT = ("benchmarks", "bentos", "contract", "dags", "docs", "drills", "fleet", "harness", "pipelines")
MOST_CLAUSES = 0.01
LEAST_DOCUMENTED = 0.9
CLAUSE = re.compile(r"(All that|How|That|Those|What|When|Where|Whether|Which|Who|Whoever|Whose)\b")

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def first_lines(tree: ast.Module) -> Iterator[str]:
    """Yield the first line of every docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | Definition) and (text := ast.get_docstring(node)):
            yield text.splitlines()[0]


def public(node: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """Yield functions and classes without an underscore, and the methods of such classes."""
    for each in node.body:
        if isinstance(each, Definition) and not each.name.startswith("_"):
            yield each
            if isinstance(each, ast.ClassDef):
                yield from public(each)


def trees() -> dict[Path, ast.Module]:
    """Return the swept sources, parsed."""
    paths = (path for folder in SWEPT for path in (PROJECT / folder).rglob("*.py") if not path.match("*_pb2.py"))
    return {path.relative_to(PROJECT): ast.parse(path.read_text()) for path in paths}


def test_docstrings_open_with_no_clause() -> None:
    lines = [(path, line) for path, tree in trees().items() for line in first_lines(tree)]
    clauses = [f"{path}: {line}" for path, line in lines if CLAUSE.match(line)]
    assert len(lines) > 500
    assert len(clauses) <= MOST_CLAUSES * len(lines), "\n".join(clauses)


def test_public_names_are_documented() -> None:
    names = [(path, node) for path, tree in trees().items() for node in public(tree)]
    missing = [f"{path}: {node.name}" for path, node in names if not ast.get_docstring(node)]
    assert len(names) > 400
    assert len(missing) <= (1 - LEAST_DOCUMENTED) * len(names), "\n".join(missing)


def test_clauses_and_undocumented_names_are_found() -> None:
    source = '''
        """What a module holds."""
        class Store:
            """The bundles of a fleet."""
            def get(self):
                """Whether it is there.

                More.
                """
            def _put(self): ...
        def read():
            """Return what a file holds."""
            def inner(): ...
        def write(): ...
    '''
    tree = ast.parse(dedent(source))
    assert [line for line in first_lines(tree) if CLAUSE.match(line)] == [
        "What a module holds.",
        "Whether it is there.",
    ]
    assert [node.name for node in public(tree)] == ["Store", "get", "read", "write"]
    assert [node.name for node in public(tree) if not ast.get_docstring(node)] == ["write"]
