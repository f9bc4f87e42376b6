"""The judge at work: counts what replicas answer, writes the evidence to `canary.json`, and asks for its verdict's edit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from contract.files import canonical_json, write_atomically
from fleet.canary.counts import Ledger, Tally, parse, summed
from fleet.canary.judge import PROMOTE, ROLL_BACK, STEP, WAIT, Judge
from fleet.configuration.edit import Edit
from fleet.configuration.settings import Settings
from fleet.configuration.state import Replica, State
from fleet.envoy.proxy import Proxy
from fleet.supervisor import metrics
from fleet.supervisor.unix_http import FAILURES

FILE_NAME = "canary.json"
NAME = "judge"
# A page takes some 10 ms; the reconciler looks twice a second.
_PAGE_LIMIT_S = 0.3
_AT_ONCE = 16
_WRITE_S = 1.0
_SET_S = 0.5
_VERBS = {PROMOTE: "promote", ROLL_BACK: "rollback", STEP: "weight"}


class Judging:
    """The judge of whatever canary is on trial; it only writes its evidence where a person judges (`judge: manual`).

    Args:
        clock: seconds that never go back, unlike the time of day.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._ahead_s: float | None = None  # the time of day less the clock, at the last look
        self._proxy = Proxy(settings)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="judge")
        self._ledger = Ledger()
        self._judge: Judge | None = None
        self._written_at = float("-inf")

    def step(self, state: State, now: float) -> Edit | None:
        """Look once; return the edit of a verdict."""
        self._follow(now)
        if state.canary is None or state.live is None:
            self._end(now)
            return None
        judge = self._of(state.canary.digest, state.live, now)
        live, canary, control = self._counted(state)
        judge.same_traffic = state.sticky == "none"
        before = judge.verdict.kind
        verdict = judge.look(live, canary, control, state.canary.percent, now)
        # Not at every look: each write waits for the disk.
        if verdict.kind != before or self._clock() - self._written_at >= _WRITE_S:
            self._write(judge.report(now))
        if verdict.kind == WAIT or state.canary.judge != "auto":
            return None
        evidence = {"evalues": judge.evidence(), "requests": judge.errors[0].canary[0], "weight": state.canary.percent}
        verb: Any = _VERBS[verdict.kind]
        return Edit(verb, NAME, verdict.why, evidence, value=verdict.weight, bundle=state.canary.digest)

    def _follow(self, now: float) -> None:
        """Follow the time of day, which may be set, by an hour as well: that is no time in which the canary answered nothing.

        It comes first in a look: a slow disk is no clock that was set, and a judge who begins has the new time already.
        """
        ahead_s = now - self._clock()
        if self._judge and self._ahead_s is not None and abs(ahead_s - self._ahead_s) > _SET_S:
            self._judge.skip(ahead_s - self._ahead_s)
        self._ahead_s = ahead_s

    def _of(self, canary: str, champion: str, now: float) -> Judge:
        """Return the judge of this canary, with what it knew before this process began."""
        if self._judge and (self._judge.canary, self._judge.champion) == (canary, champion):
            return self._judge
        if self._judge is None and (found := report(self._settings.root)) and "ended_at" not in found:
            with suppress(KeyError, TypeError):  # written by another version
                if (found["bundle"], found["champion"]) == (canary, champion):
                    judge = Judge.resumed(found)
                    judge.skip(now - found["at"])  # nobody looked
                    self._judge = judge
                    return judge
        self._judge = Judge(canary, champion, now)
        self._ledger = Ledger()
        return self._judge

    def _end(self, now: float) -> None:
        """Keep the last trial's evidence for people, marked so that a later trial of the same bundle begins anew."""
        self._judge = None
        if (found := report(self._settings.root)) and "ended_at" not in found:
            self._write(found | {"ended_at": now})

    def _counted(self, state: State) -> tuple[Tally, Tally, Tally]:
        """Return what live replicas, the canary's and the control's have answered since the last look."""
        try:
            hosts = self._proxy.hosts()
        except (*FAILURES, ValueError):
            hosts = {}
        pages = self._pool.map(lambda each: metrics.read(each, self._settings, _PAGE_LIMIT_S, parse), state.replicas)
        tallies: dict[str, Tally] = {}
        for replica, page in zip(state.replicas, pages, strict=True):
            found = self._proxy.of(replica, hosts)
            known = [host for host in found if host is not None]
            host = (sum(each.requests for each in known), sum(each.errors for each in known))
            tallies[replica.name] = self._ledger.since(replica.name, page, host if len(known) == len(found) else None)
        self._ledger.forget_others(tallies)

        def of(replicas: tuple[Replica, ...]) -> Tally:
            """Return the sum of some replicas' counts."""
            return summed(tallies[replica.name] for replica in replicas)

        digest = state.canary.digest if state.canary else ""
        return of(state.of(str(state.live))), of(state.of(digest)), of(state.control)

    def _write(self, content: dict[str, Any]) -> None:
        self._written_at = self._clock()
        with suppress(OSError):  # with a full disk, the verdict is still acted on
            write_atomically(self._settings.root / FILE_NAME, canonical_json(content))


def report(root: Path) -> dict[str, Any] | None:
    """Return the evidence of the last trial; None where there is none, or it cannot be read."""
    try:
        found: dict[str, Any] = json.loads((root / FILE_NAME).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found
