"""What stays true of the classes of the tree: a part that others need is an object of its own, not a parent."""

from __future__ import annotations

import ast
import re
import subprocess
from textwrap import dedent

from harness import PROJECT

_IS_PRIVATE = re.compile(r"_(?!_)").match
Name = tuple[str, str]  # module and class


class Class:
    """A class of ours: its bases, and the private members that it defines and touches."""

    def __init__(self, node: ast.ClassDef, module: str, imported: dict[str, Name]) -> None:
        bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
        names = [base.id for base in bases if isinstance(base, ast.Name)]
        self.bases = [imported.get(name, (module, name)) for name in names]
        self.defines: set[str] = set()
        self.touches: set[str] = set()
        for each in ast.walk(node):
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                self._add(each.name, defined=True)
            elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                self._add(each.target.id, defined=True)
            elif (
                isinstance(each, ast.Attribute)
                and isinstance(each.value, ast.Name)
                and each.value.id in ("self", "cls")
            ):
                self._add(each.attr, defined=isinstance(each.ctx, ast.Store))

    def _add(self, name: str, *, defined: bool) -> None:
        if _IS_PRIVATE(name):
            self.touches.add(name)
            if defined:
                self.defines.add(name)


def _classes(module: str, source: str) -> dict[Name, Class]:
    tree = ast.parse(source)
    imported = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {(module, node.name): Class(node, module, imported) for node in nodes}


def _shared(classes: dict[Name, Class]) -> dict[Name, set[str]]:
    """By class, the private members of its ancestors that it touches or overrides."""
    shared = {}
    for name, found in classes.items():
        ancestors: set[Name] = set()
        ahead = list(found.bases)
        while ahead:
            base = ahead.pop()
            if base in classes and base not in ancestors:
                ancestors.add(base)
                ahead += classes[base].bases
        touched = found.touches & {member for base in ancestors for member in classes[base].defines}
        if touched:
            shared[name] = touched
    return shared


def test_no_class_touches_private_members_of_its_parents() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=PROJECT, capture_output=True, text=True, check=True)
    classes: dict[Name, Class] = {}
    for name in listed.stdout.splitlines():
        classes |= _classes(name.removesuffix(".py").replace("/", "."), (PROJECT / name).read_text())
    assert len(classes) > 300
    assert not _shared(classes)


def test_private_member_of_a_parent_is_found_when_a_class_touches_it() -> None:
    parent = """
        class Reader(Generic[T]):
            def __init__(self):
                self.open, self._left = True, 0
    """
    child = """
        from reader import Reader as Base
        class Quiet(Base[int]):
            def close(self):
                self.open, self._closed = False, True
    """
    grandchild = """
        from quiet import Quiet
        class Loud(Quiet):
            def left(self):
                return self._left
    """
    classes = _classes("reader", dedent(parent)) | _classes("quiet", dedent(child))
    assert not _shared(classes)
    assert _shared(classes | _classes("loud", dedent(grandchild))) == {("loud", "Loud"): {"_left"}}
