"""Admission control: reject at once the requests that could not be answered in time.

The server is one thread and answers a request as soon as it reads it, so its queue is the round of the event loop: the requests that one
poll returns wait for each other, and later ones wait, unread, for the next round. A request is answered within two rounds of its arrival.
A round may therefore last a quarter of the latency budget; the other half is for delays outside the server. By Little's law (work in a
system = arrival rate × time in the system) this bounds the queue, and the number of requests in it adapts to their cost.

Rejections cost time too, as does the rest of the loop. The share of a round after its last answer is measured, and later rounds admit less
by that share: `window = limit * (1 - share)`. With `r` the cost of a rejection in answers and load at `k` times the capacity, rounds stay
within the limit and `(1 - k r) / (1 - r)` of the capacity is goodput; without the correction, rounds would grow with their own rejections
until no answer is in time.

The predicted cost of a request is the moving average of the cost of requests of its size. A machine that is suspended for a moment makes
one answer dear and its round old: neither says anything about the work that waits, so one answer moves the average little, and a round of
little work but for its longest answer is done whatever its age. What waits to be scored with others
(`bentos.rounds`) makes its round older by the rest of its cost.

Source: J. D. C. Little, "A Proof for the Queuing Formula L = λW", 1961; a limit from measured latency is the idea of Netflix's
concurrency-limits, bounding the time in a queue instead of its length that of CoDel (RFC 8289).
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from bentos.errors import DeadlineError, OverloadedError
from bentos.monitoring.metrics import Metrics

_GAIN = 0.125  # of the moving averages
_LONG_S = 0.002  # of a round, after which `after_long_round` is called
_LITTLE = 0.25  # of a window: the work that a round does at any age
_FEW = 4  # requests of unknown cost that it takes for such
_OTHER = 4.0  # times its average: an answer that took longer was interrupted
_ANY = 64  # bits: more than any size has
# An estimate that rejects every request is never measured again, so it fades until a request is tried.
_FADE = 0.95
# The longest pause between two rounds of a loop that is never idle.
_PAUSE_S = 0.001


class Admission:
    """The admission control of both protocols, called on the event loop's thread before and after each answer.

    Attributes:
        call_soon: the event loop's: it calls its argument after this round, before the next poll. Without a loop each request is a round of
            its own, and only deadlines reject.
        clock: seconds; `perf_counter`, except in tests.
        after_long_round: called after a round longer than 2 ms.
        before_end: called before a round ends, with the answers that waited for it.
        is_full: whether this round has rejected a request; `refuses` tells which others it would reject.
        is_running: a round has begun and will end.
    """

    def __init__(self, budget_s: float, metrics: Metrics) -> None:
        self.call_soon: Callable[[Callable[[], None]], object] = lambda end: end()
        self.clock = perf_counter
        self.after_long_round: list[Callable[[], None]] = []
        self.before_end: Callable[[], None] = lambda: None
        self.is_full = False
        self.is_running = False
        self._metrics = metrics
        self._limit = self._window = budget_s / 4
        self._share = 0.0  # of a round, after its last answer
        self._costs = [0.0] * _ANY  # seconds, by the binary magnitude of the size
        self._faded = [1.0] * _ANY  # of each, the share that deadlines have left of it since its last answer
        self._samples = [0] * _ANY  # of each, up to two: a single one may have been interrupted
        self._magnitude = 0  # of the request admitted last
        self._began = self._ended = self._admitted = 0.0
        self._seconds = 0.0  # of the request admitted last: its time so far
        self._known = 0.0, 0  # the average before it, and its samples
        self._held: list[tuple[int, float, int]] = []  # magnitude, seconds so far and rows of requests that wait
        self._owed = 0.0  # seconds that they will take
        self._length = 0.0  # of the last round
        # The expected wait before this round: half of the last one if this followed at once, since the time of arrival in it is unknown.
        self._before = 0.0
        self._answered = 0.0  # the time of the last answer
        self._answers = 0  # in this round
        self._work = self._longest = 0.0  # seconds of this round's answers, and of the longest one
        self._full_from = _ANY  # the magnitude of the smallest request that this round rejected for its length

    def admit(self, size: int, started: float, timeout_s: float) -> None:
        """Admit a request of `size` bytes, or reject it.

        Args:
            started: the time by `clock` at which its first byte was read.
            timeout_s: seconds that the caller waits from sending it; infinite without a deadline.

        Raises:
            OverloadedError: the answer would exceed the latency budget, or, because of the load, the deadline; a retry may succeed.
            DeadlineError: the deadline is exceeded, or would be even without other requests.
        """
        now = self.clock()
        if not self.is_running:
            self._begin_round(now)
        age = now - self._began + self._owed
        self._magnitude = magnitude = size.bit_length()
        cost = self._costs[magnitude]
        sure = cost if self._samples[magnitude] > 1 else 0.0
        if self._answers and age + cost > self._window:
            self._check_window(age, sure)
        arriving = now - started
        wait = self._before + (arriving if arriving > age else age)
        if wait + cost * self._faded[magnitude] > timeout_s:
            self._faded[magnitude] *= _FADE
            if wait > timeout_s or cost > timeout_s:
                raise DeadlineError
            raise OverloadedError("the server cannot answer before the deadline; try again later")
        self._answers += 1
        self._admitted = now
        self._metrics.waited(wait)

    def done(self) -> None:
        """Record that the request admitted last has its answer."""
        self._answered = self.clock()
        self._seconds = self._answered - self._admitted
        self._work += self._seconds
        self._longest = max(self._longest, self._seconds)
        self._known = self._costs[self._magnitude], self._samples[self._magnitude]
        self._learn(self._magnitude, self._seconds)

    def withdraw(self) -> None:
        """Forget what `done` recorded last: only the first part of the request is done, and it will be held."""
        self._costs[self._magnitude], self._samples[self._magnitude] = self._known

    def hold(self, rows: int) -> None:
        """Record that the rows of the request withdrawn last wait for `release`."""
        self._held.append((self._magnitude, self._seconds, rows))
        owed = max(self._costs[self._magnitude] - self._seconds, 0.0)
        self._owed += owed
        self._work += owed

    def release(self, started: float) -> None:
        """Record that the held requests have their answers, whose last part began at `started`."""
        self._answered = self.clock()
        of_row = (self._answered - started) / sum(rows for _, _, rows in self._held)
        for magnitude, seconds, rows in self._held:
            self._learn(magnitude, seconds + rows * of_row)
        # What it took, in place of what was expected; one interruption a round is excused here, too.
        self._work += self._answered - started - self._owed
        self._longest = max(self._longest, self._answered - started)
        self._held.clear()
        self._owed = 0.0

    def refuses(self, size: int) -> bool:
        """Return whether this round rejects a request of `size` bytes: it has rejected one of the same magnitude or a smaller one."""
        return size.bit_length() >= self._full_from

    def _learn(self, magnitude: int, seconds: float) -> None:
        self._faded[magnitude] = 1.0
        cost, samples = self._costs[magnitude], self._samples[magnitude]
        if cost and samples > 1:
            self._costs[magnitude] = cost + _GAIN * (min(seconds, _OTHER * cost) - cost)
            return
        self._costs[magnitude] = min(cost, seconds) if cost else seconds
        self._samples[magnitude] = samples + 1

    def _check_window(self, age: float, cost: float) -> None:
        """Raise OverloadedError if the round is too old for a request of that cost, 0 for an unknown one.

        A request that costs more than half of a window is admitted in the first half, so that small requests cannot starve it. A little
        work is done however old the round is: it is no queue, and a suspended machine, not it, made the round old.
        """
        is_little = (cost or self._answers < _FEW) and self._work - self._longest + cost < _LITTLE * self._window
        if not is_little and age + min(cost, self._window / 2) > self._window:
            self.is_full = True
            self._full_from = min(self._full_from, self._magnitude)
            raise OverloadedError

    def _begin_round(self, now: float) -> None:
        self.is_running = True
        self._before = self._length / 2 if now - self._ended < _PAUSE_S else 0.0
        self._began = self._answered = now
        self._answers = 0
        self._work = self._longest = 0.0
        self.call_soon(self._end_round)

    def _end_round(self) -> None:
        try:
            self.before_end()
        finally:
            self.is_running = False
        self._ended = self.clock()
        self._length = self._ended - self._began
        if self.is_full:
            self.is_full = False
            self._full_from = _ANY
            self._share += _GAIN * ((self._ended - self._answered) / self._length - self._share)
            self._window = self._limit * (1 - self._share)
        elif self._share:
            self._share = 0.0
            self._window = self._limit
        if self._length > _LONG_S:
            for call in self.after_long_round:
                call()
