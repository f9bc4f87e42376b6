"""`dvc` in a workspace whose results are checked, and checked out of the cache, by the same process: DVC's start takes longer than either.

Run by its path, with the arguments of `dvc repro`; the workspace's own code may be older.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Instead of this directory; stages are other processes, and do not see it.
sys.path[0] = str(Path(__file__).parents[3])

from pipelines.data.integrity.check import check  # noqa: E402 - by the path above


def main(arguments: list[str]) -> int:
    """Repair corrupt files before a stage reads them, check out what `dvc.lock` names, and run `dvc`; return its exit code.

    Whatever is lost or missing DVC computes again. With everything checked out it leaves a stage without changes alone; else it would
    take each from the cache by itself, and write the whole `dvc.lock` after it.
    """
    findings = check(Path.cwd(), remote=False)
    for line in (*findings.repaired, *map(str, findings.lost)):
        print(f"corrupt: {line}", flush=True)
    from dvc.cli import main as dvc

    if Path("dvc.lock").is_file():
        stages = [word for word in arguments[arguments.index("repro") + 1 :] if not word.startswith("-")]
        dvc(["checkout", "--quiet", "--force", "--allow-missing", "--with-deps", *stages])
    return int(dvc(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
