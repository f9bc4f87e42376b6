"""A judged deployment that is waited for: begun, or joined where it runs, until the verdict is in the history.

The trial does not depend on the waiting process. One that was killed can be given again: it finds the same trial, or its verdict.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, Literal

from contract.errors import ConfigurationError, ConflictError, ModelRejectedError, UnavailableError
from fleet.canary.controller import report
from fleet.configuration import history
from fleet.configuration import state as fleet_state
from fleet.configuration.changes import Entry
from fleet.configuration.settings import Settings
from fleet.configuration.state import State
from fleet.control.fleet import Fleet
from fleet.monitoring.readings import reading, traffic

PROMOTED, ROLLED_BACK, DEPLOYED, LIVE = "promoted", "rolled back", "deployed", "live already"
IF_TRAFFIC = "if-traffic"
Judged = Literal["auto", "if-traffic"]
_AS_ASKED = "no trial was asked for"
_VERDICTS = {"promote": PROMOTED, "rollback": ROLLED_BACK}
_POLL_S = 0.5
# A judge writes once a second; a reconciler that died is started again within seconds.
_SILENT_S = 120.0
# At 1 %, the canary then misses the judge's 30 s without any request in one of 200 trials.
_ENOUGH_PER_S = 30.0
_MEASURED_S = 5.0


@dataclass(frozen=True)
class Ended:
    """The end of a deployment; `verdict` is one of the words above."""

    verdict: str
    why: str
    digest: str
    seconds: float

    def outcome(self) -> dict[str, Any]:
        """Return the outcome of a task in Airflow."""
        facts = {"verdict": self.verdict, "why": self.why, "digest": self.digest}
        state = "refused" if self.verdict == ROLLED_BACK else "ran"
        return {"stage": "deploy", "state": state, "seconds": round(self.seconds, 3), "facts": facts}

    def require(self) -> None:
        """Raise ModelRejectedError unless the bundle is live."""
        if self.verdict == ROLLED_BACK:
            raise ModelRejectedError(
                f"{self.digest[:12]} was rolled back: {self.why}. `fleet history` has the evidence; the live bundle stays"
            )


class Trial:
    """The deployment of one bundle; `tell` gets a line whenever there is something new."""

    def __init__(self, fleet: Fleet, settings: Settings, digest: str, tell: Callable[[str], None]) -> None:
        self._fleet, self._settings, self._digest, self._tell = fleet, settings, digest, tell

    def run(self, canary: Judged | None, *, since: datetime | None, breaking: bool) -> Ended:
        """Deploy the bundle as a judged canary and wait; return how it ended.

        Args:
            canary: None: without a trial; `if-traffic`: without one where nothing is live, or too few requests come for a judge.
            since: a verdict on this bundle since then is the answer, and nothing is begun.

        Raises:
            ConflictError: another canary is on trial.
            UnavailableError: the fleet is down, or the judge does not look any more.
        """
        # The trial's verdict is one after this entry, whatever the time of day is set to meanwhile.
        started, before = time.monotonic(), next(self._newest_first(), None)

        def ended(verdict: str, why: str) -> Ended:
            """Return the end of this deployment."""
            return Ended(verdict, why, self._digest, time.monotonic() - started)

        state = self._state()
        if not self._is_on_trial(state):
            if since is not None and (entry := self._verdict(self._since(since))):
                return ended(_VERDICTS[entry.verb], entry.why)
            if state.live == self._digest:
                return ended(LIVE, "it is the live bundle")
            why = _AS_ASKED if canary is None else self._unjudgeable(state) if canary == IF_TRAFFIC else ""
            if why:
                self._tell(f"deployed without a trial: {why}")
                self._fleet.deploy(self._digest, breaking=breaking)
                return ended(DEPLOYED, why)
            if state.canary is not None:
                raise ConflictError(
                    f"another canary, {state.canary.digest[:12]}, is on trial; wait for its verdict, or end it with `fleet rollback`"
                )
            self._fleet.deploy(self._digest, "auto", breaking=breaking)
        elif since is not None:
            self._tell("the trial runs already; waiting for its verdict")
        verdict = self._wait(before)
        return ended(*verdict)

    def _wait(self, before: Entry | None) -> tuple[str, str]:
        told, heard, last = "", time.monotonic(), None
        while True:
            # The history after the state: a verdict is written once the canary is gone.
            is_on_trial = self._is_on_trial(self._state())
            if entry := self._verdict(takewhile(lambda each: each != before, self._newest_first())):
                return _VERDICTS[entry.verb], entry.why
            found = report(self._settings.root)
            if found and found.get("bundle") == self._digest and found.get("at") != last:
                heard, last = time.monotonic(), found["at"]
                if (line := f"{found['weight']} %: {found['verdict']}, {found['why']}") != told:
                    told = line
                    self._tell(line)
            if time.monotonic() - heard > _SILENT_S:
                raise UnavailableError(
                    f"nothing was heard of the trial of {self._digest[:12]} for {_SILENT_S:.0f} s; see `fleet status` and `fleet history`"
                    if is_on_trial
                    else f"the trial of {self._digest[:12]} ended without a verdict; see `fleet history`"
                )
            time.sleep(_POLL_S)

    def _newest_first(self) -> Iterator[Entry]:
        return reversed(history.read(self._settings.root))

    def _since(self, moment: datetime) -> Iterator[Entry]:
        return (each for each in self._newest_first() if datetime.fromisoformat(each.at) >= moment)

    def _verdict(self, newest_first: Iterable[Entry]) -> Entry | None:
        """Return the last of the verdicts on this bundle, by the judge or a person."""
        verdicts = (each for each in newest_first if each.verb in _VERDICTS and each.verdict == "done")
        return next((each for each in verdicts if each.bundle == self._digest), None)

    def _unjudgeable(self, state: State) -> str:
        """Return why no judge could decide; empty if one could."""
        if state.live is None:
            return "nothing is live to compare it with"
        before = reading.take(self._settings, state)
        time.sleep(_MEASURED_S)
        callers = traffic.of_callers(before, reading.take(self._settings, state))
        rate = callers["requests_per_s"] if callers else 0.0
        if rate >= _ENOUGH_PER_S:
            return ""
        return f"{rate:.1f} requests a second are too few for a judge, who needs {_ENOUGH_PER_S:.0f}"

    def _is_on_trial(self, state: State) -> bool:
        if state.canary is None or state.canary.digest != self._digest:
            return False
        if state.canary.judge != "auto":
            raise ConfigurationError(
                f"{self._digest[:12]} is a canary that a person judges: `fleet promote` or `fleet rollback`"
            )
        return True

    def _state(self) -> State:
        return fleet_state.load(self._settings.state)
