"""Moves of a channel that meet each other, or a bad network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.store import Store
from tests.flaky import Fault

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


class LostAnswer:
    """A fault for `tests.flaky.relay`: the answer to the first swap is lost, once; all before it goes well."""

    def __init__(self) -> None:
        self.faults = [Fault(0, is_reset=True, is_of_answer=True)]
        self._is_armed = False

    def __call__(self) -> Fault | None:
        return self.faults.pop() if self._is_armed and self.faults else None

    def arm(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """From its first swap on."""
        swap = store.place.swap

        def armed(*arguments: Any) -> bool:
            self._is_armed = True
            return swap(*arguments)

        monkeypatch.setattr(store.place, "swap", armed)
