"""Moves of a channel that meet each other, or a bad network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.store.store import Store
from harness import PROJECT
from tests.faults.flaky import Fault

ROUNDS = 6
_PROGRAM = """
import sys
from pathlib import Path
from contract.errors import ConflictError
from contract.store.store import Store
store = Store(sys.argv[1], cache=Path(sys.argv[2]))
store.digests()
expected = None
for line in sys.stdin:
    try:
        if line == 'read\\n':
            expected = store.read('live')
            print('ready', flush=True)
        else:
            print(store.move('live', sys.argv[3], expected=expected, by=sys.argv[4]).generation, flush=True)
    except ConflictError:
        print('lost', flush=True)
"""


def race(location: str, cache: Path, digest: str) -> list[int]:
    """Two processes move `live` ROUNDS times each, both from where it was before. Returns the generations that they were told they made."""
    command, pipe = [sys.executable, "-c", _PROGRAM, location, str(cache), digest], subprocess.PIPE
    movers = [
        subprocess.Popen([*command, str(index)], cwd=PROJECT, text=True, stdin=pipe, stdout=pipe) for index in range(2)
    ]

    def both(word: str) -> list[str]:
        for mover in movers:
            mover.stdin.write(f"{word}\n")
            mover.stdin.flush()
        return [mover.stdout.readline().strip() for mover in movers]

    won = []
    for _ in range(ROUNDS):
        assert both("read") == ["ready", "ready"]
        won += [int(answer) for answer in both("move") if answer != "lost"]
    for mover in movers:
        mover.communicate(timeout=30)
    return won


class LostAnswer:
    """A fault for `tests.faults.flaky.relay`: the answer to the first swap is lost, once; all before it goes well."""

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
