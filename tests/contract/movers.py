"""Processes that move the same channel at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROUNDS = 6
_PROGRAM = """
import sys
from pathlib import Path
from contract.errors import ConflictError
from contract.store import Store
store = Store(sys.argv[1], cache=Path(sys.argv[2]))
store.digests()
for line in sys.stdin:
    try:
        print(store.move('live', sys.argv[3], expected=store.read('live'), by=sys.argv[4]).generation, flush=True)
    except ConflictError:
        print('lost', flush=True)
"""


def race(location: str, cache: Path, digest: str) -> list[int]:
    """Two processes move `live` ROUNDS times each, at once. Returns the generations that they were told they made."""
    command, pipe = [sys.executable, "-c", _PROGRAM, location, str(cache), digest], subprocess.PIPE
    movers = [
        subprocess.Popen([*command, str(index)], cwd=ROOT, text=True, stdin=pipe, stdout=pipe) for index in range(2)
    ]
    won = []
    for _ in range(ROUNDS):
        for mover in movers:
            mover.stdin.write("go\n")  # type: ignore[union-attr]
            mover.stdin.flush()  # type: ignore[union-attr]
        answers = [mover.stdout.readline().strip() for mover in movers]  # type: ignore[union-attr]
        won += [int(answer) for answer in answers if answer != "lost"]
    for mover in movers:
        mover.communicate(timeout=30)
    return won
