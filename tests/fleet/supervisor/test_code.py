"""The digest of the code that the fleet's own processes run."""

from __future__ import annotations

from pathlib import Path

from fleet.supervisor import code


def test_digest_changes_with_a_files_content_and_name_and_not_with_what_python_compiles(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "__pycache__").mkdir(parents=True)
    source = package / "module.py"
    source.write_text("answer = 1\n")
    first = code.digest([package])
    (package / "__pycache__" / "module.pyc").write_bytes(b"compiled")
    assert code.digest([package]) == first
    source.write_text("answer = 2\n")
    second = code.digest([package])
    source.rename(package / "other.py")
    assert len({first, second, code.digest([package])}) == 3
