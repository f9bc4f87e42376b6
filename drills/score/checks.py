"""A check of the rubric: tests that must pass, and evidence of a run that must say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


class NotShownError(Exception):
    """Evidence is missing, or says the contrary; in words."""


# Returns the figures in words; raises NotShownError.
Evidence = Callable[[Path], str]


@dataclass(frozen=True)
class Outcome:
    """Whether a test passed, and a reason why not."""

    passed: bool
    words: str = ""


@dataclass(frozen=True)
class Check:
    """A check, which passes if all its tests pass and all its evidence is there.

    Attributes:
        tests: below `tests/`, as `FILE::FUNCTION` or `FILE`.
        evidence: functions that read the results of a run.
        page: the page of `docs/` that says how a person runs it, for a check that nothing runs by itself.
    """

    tests: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    page: str | None = None

    def decide(self, outcomes: Mapping[str, Outcome], place: Path, docs: Path) -> Outcome:
        """Decide from the outcomes of tests and from the results of a run in `place`."""
        if self.page is not None and not (docs / self.page).is_file():
            return Outcome(False, f"there is no page docs/{self.page}")
        said = []
        for test in self.tests:
            outcome = outcomes.get(test, Outcome(False, f"{test} was not run"))
            if not outcome.passed:
                return outcome
        if self.tests:
            said.append("1 test passed" if len(self.tests) == 1 else f"{len(self.tests)} tests passed")
        for evidence in self.evidence:
            try:
                said.append(evidence(place))
            except NotShownError as error:
                return Outcome(False, str(error))
            except (OSError, KeyError, ValueError, TypeError) as error:
                return Outcome(False, f"evidence of {evidence.__name__} cannot be read: {error!r}")
        return Outcome(bool(said), "; ".join(said))
