"""Admission control: which requests are answered, and which are refused at once since they could not be answered in time.

The server is one thread, and answers a request as soon as it reads it. So its queue is the round of the event loop: the requests that
one poll has found wait for each other, and what comes meanwhile waits, unread, for the next round. A request is answered within two
rounds of its arrival; hence a round may last a quarter of the latency budget: the other half is for what is not ours to schedule. By
Little's law (the work in a system is the rate at which it comes times the time that it stays) that bounds the queue, and how many
requests it holds adapts to what they cost.

Refusing costs time too, and so does all else that the loop does. The share of a round that is left after its last answer is measured,
and the next rounds admit so much less: `window = limit * (1 - share)`. With `r` the cost of a refusal in answers, and requests coming at
`k` times the capacity, rounds stay within the limit and `(1 - k r) / (1 - r)` of the capacity goes into answers; without it, rounds would
grow with their own refusals until nothing is answered in time.

What a request will cost is the moving average of what requests of its size took.

Source: J. D. C. Little, "A Proof for the Queuing Formula L = λW", 1961; a limit from measured latency is the idea of Netflix's
concurrency-limits, bounding the time in a queue instead of its length that of CoDel (RFC 8289).
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from bentos.errors import DeadlineError, OverloadedError
from bentos.monitoring.metrics import Metrics

_GAIN = 0.125  # of the moving averages
_LONG_S = 0.002
_FEW = 4
_ANY = 64  # bits: more than any size has
# An estimate that refuses is not measured again, so it fades until a request is tried.
_FADE = 0.95
# Between two rounds of a loop that has no time to wait for requests.
_PAUSE_S = 0.001


class Admission:
    """Asked by both protocols, on the event loop's thread, before and after each answer.

    Attributes:
        call_soon: the event loop's: it calls what it is given after this round, before the next poll. Without a loop each request is a
            round of its own, and only deadlines refuse.
        clock: seconds; `perf_counter`, but for tests.
        after_long_round: called with the seconds of a round that others had to wait for.
        is_full: whether this round has refused a request; `refuses` says which others it would.
    """

    def __init__(self, budget_s: float, metrics: Metrics) -> None:
        self.call_soon: Callable[[Callable[[], None]], object] = lambda end: end()
        self.clock = perf_counter
        self.after_long_round: list[Callable[[float], None]] = []
        self.is_full = False
        self._metrics = metrics
        self._limit = self._window = budget_s / 4
        self._share = 0.0  # of a round, left after its last answer
        self._costs = [0.0] * _ANY  # seconds, by the binary magnitude of the size
        self._magnitude = 0  # of what was admitted last
        self._running = False
        self._began = self._ended = self._admitted = 0.0
        self._length = 0.0  # of the last round
        # Half of that, if this one followed at once: when in it a request came is not known.
        self._before = 0.0
        self._answered = 0.0  # when, for the last time
        self._answers = 0  # in this round
        self._full_from = _ANY  # the magnitude of the smallest one that it refused for its length

    def admit(self, size: int, started: float, timeout_s: float) -> None:
        """Go on with a request of `size` bytes, or refuse it.

        Args:
            started: when its first byte was read, by `clock`.
            timeout_s: what its caller gives it, from when it was sent; infinite for no deadline.

        Raises:
            OverloadedError: it would take the server more than its budget, or longer than the caller waits; a later try may succeed.
            DeadlineError: the caller does not wait any more, or will not even if the server does nothing else.
        """
        now = self.clock()
        if not self._running:
            self._begin_round(now)
        age = now - self._began
        self._magnitude = magnitude = size.bit_length()
        cost = self._costs[magnitude]
        if self._answers and age + cost > self._window:
            self._check_window(age, cost)
        arriving = now - started
        wait = self._before + (arriving if arriving > age else age)
        if wait + cost > timeout_s:
            self._costs[magnitude] *= _FADE
            if wait > timeout_s or cost > timeout_s:
                raise DeadlineError
            raise OverloadedError("the server cannot answer before the deadline; try again later")
        self._answers += 1
        self._admitted = now
        self._metrics.waited(wait)

    def done(self) -> None:
        """The request that was admitted last has its answer."""
        self._answered = self.clock()
        seconds = self._answered - self._admitted
        cost = self._costs[self._magnitude]
        self._costs[self._magnitude] = cost + _GAIN * (seconds - cost) if cost else seconds

    def refuses(self, size: int) -> bool:
        """Whether a request of that size has no chance in this round: one that was no larger had none."""
        return size.bit_length() >= self._full_from

    def _check_window(self, age: float, cost: float) -> None:
        """Refuse, if the round is too long for a request of that cost.

        What takes longer than half of a window has its turn in the first half, lest small requests keep it out for ever. A few small ones
        are answered however old the round is: they are no queue, and what made it old, a machine that was asleep, was not them.
        """
        few = self._answers < _FEW and cost < self._window / _FEW
        if not few and age + min(cost, self._window / 2) > self._window:
            self.is_full = True
            self._full_from = min(self._full_from, self._magnitude)
            raise OverloadedError

    def _begin_round(self, now: float) -> None:
        self._running = True
        self._before = self._length / 2 if now - self._ended < _PAUSE_S else 0.0
        self._began = self._answered = now
        self._answers = 0
        self.call_soon(self._end_round)

    def _end_round(self) -> None:
        self._running = False
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
                call(self._length)
