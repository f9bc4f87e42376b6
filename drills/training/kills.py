"""The drill of kills: kill -9 at random moments of runs of the pipeline; each goes on, and ends with the digests of an undisturbed run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from contract.errors import FINAL_EXIT_CODES
from drills.results import Result
from drills.training.attempts import Attempt, Outcome, Runs
from harness.workspaces import TWO_MONTHS

_KILLS, _IN_TRAIN = 100, 30
_CHUNK = 10
# More rounds than the two months need by default, and several checkpoints.
CHANGES: Mapping[str, Mapping[str, Any]] = {
    **TWO_MONTHS,
    "train": {"learning_rate": 0.04, "checkpoint_rounds": _CHUNK},
}
_POLL_S, _EDGE_S = 0.02, 1.0
_CLOCKS = ("-1h", "+1h", "-366d", "+366d")


@dataclass
class Tally:
    """The counts of the drill.

    Attributes:
        kills: in any stage; `in_train` those of them that met the stage `train`.
        different: outputs of resumed runs that differ from the undisturbed one.
        repeated: rounds of boosting that were done again, by run.
        allowed: rounds that may be: one chunk for each kill in `train`, by run.
    """

    kills: int = 0
    in_train: int = 0
    runs: int = 0
    wrong_clocks: int = 0
    different: list[str] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    allowed: list[int] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)


def kills(seed: int, count: int = _KILLS, in_train: int = _IN_TRAIN) -> list[Result]:
    """Run the drill: `count` kills, `in_train` of them inside of `train`, at moments that the seed decides."""
    random, runs, tally = Random(seed), Runs("kills", CHANGES), Tally()
    runs.begin()
    started = time.monotonic()
    _complete(runs.attempt("screen"))
    runs.put_aside()
    _complete(runs.attempt("bundle"))
    undisturbed, whole_s = runs.outcome(), time.monotonic() - started
    while tally.in_train < in_train:
        _train(runs, random, tally, undisturbed, in_train)
    while tally.kills < count:
        _pipeline(runs, random, tally, undisturbed, whole_s, count)
    print(
        f"{tally.kills} kills, {tally.in_train} in train, {tally.wrong_clocks} attempts with a wrong clock, {tally.runs} runs; "
        f"rounds repeated: {sum(tally.repeated)}, allowed {sum(tally.allowed)}; exit codes that nobody tries again: {tally.given_up}"
    )
    over = sum(repeated > allowed for repeated, allowed in zip(tally.repeated, tally.allowed, strict=True))
    same, at_most = "all digests are those of an undisturbed run", "at most one checkpoint is done again"
    told = [f"kill -9, {times} times" for times in (tally.kills, tally.in_train)]
    return [
        Result(1, "kills", told[0], tally.kills, len(tally.different), same, not tally.different),
        Result(2, "kills in train", told[1], tally.in_train, over, at_most, not over),
    ]


def _train(runs: Runs, random: Random, tally: Tally, undisturbed: Outcome, most: int) -> None:
    """Kill one run inside of `train` until it is through."""
    runs.begin(with_results=True)
    _complete(runs.attempt("screen"))
    killed = 0
    while True:
        attempt = runs.attempt("train")
        if (
            attempt.reaches("train")
            and tally.in_train < most
            and _works_until(attempt, runs, random, undisturbed.rounds)
        ):
            killed += _kill(attempt, random, tally)
        else:
            _complete(attempt)
            return _judge(runs, tally, undisturbed, killed)


def _works_until(attempt: Attempt, runs: Runs, random: Random, rounds: int) -> bool:
    """Wait for a random moment of `train`, and return whether the attempt is still at work.

    Moments are numbers of rounds, since a busy machine takes any time for them; some are before the first and after the last one.
    """
    last = runs.rounds() + random.randint(-rounds // 20, rounds // 4)
    while runs.rounds() < min(last, rounds):
        if not attempt.lasts(_POLL_S):
            return False
    return attempt.lasts(random.uniform(0, _EDGE_S))


def _pipeline(runs: Runs, random: Random, tally: Tally, undisturbed: Outcome, whole_s: float, most: int) -> None:
    """Kill one run at any moment until it is through, with a clock that is wrong now and then."""
    runs.begin()
    killed = 0
    while True:
        clock = random.choice(_CLOCKS) if random.random() < 0.3 and shutil.which("faketime") else None
        tally.wrong_clocks += clock is not None
        attempt = runs.attempt("bundle", clock=["faketime", "-f", clock] if clock else [])
        if tally.kills < most and attempt.lasts(random.uniform(0, whole_s)):
            killed += _kill(attempt, random, tally)
        else:
            _complete(attempt)
            return _judge(runs, tally, undisturbed, killed)


def _kill(attempt: Attempt, random: Random, tally: Tally) -> bool:
    """Kill an attempt, and return whether it was in `train`."""
    in_train = attempt.is_in("train")
    attempt.kill(random)
    tally.kills += 1
    tally.in_train += in_train
    if attempt.wait() in FINAL_EXIT_CODES:
        tally.given_up.append(attempt.wait())
    return in_train


def _judge(runs: Runs, tally: Tally, undisturbed: Outcome, killed: int) -> None:
    found = runs.outcome()
    tally.runs += 1
    print(
        f"run {tally.runs}: {killed} kills in train, {tally.kills} in all; {found.rounds} rounds, {undisturbed.rounds} undisturbed",
        flush=True,
    )
    tally.different += [path for path, digest in found.outputs.items() if undisturbed.outputs[path] != digest]
    tally.repeated.append(found.rounds - undisturbed.rounds)
    tally.allowed.append(killed * _CHUNK)


def _complete(attempt: Attempt) -> None:
    if attempt.wait():
        raise attempt.failure("an attempt that nobody killed")
