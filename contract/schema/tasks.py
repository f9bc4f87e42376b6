"""The tasks: what may be predicted, and in which form it is answered.

A task has one of three forms of answer; whatever reads or writes answers goes by the form:

| form            | an answer has                                        | scores of a row        | outcomes                |
|-----------------|------------------------------------------------------|------------------------|-------------------------|
| `probability`   | `probability` of the second label, `label`           | one, of that label     | 0 or 1                  |
| `probabilities` | `probabilities` by label, the most probable `label`  | one for each label     | the index of the label  |
| `value`         | `value`                                              | one, the value         | the number              |

How models of a task are judged stands in `pipelines.statistics.tasks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["probability", "probabilities", "value"]
# Form -> the labels that a target of it has: the fewest, the most, and in words.
_LABELS: dict[Form, tuple[int, float, str]] = {
    "probability": (2, 2, "two, the negative one first"),
    "probabilities": (3, float("inf"), "three or more"),
    "value": (0, 0, "none"),
}


@dataclass(frozen=True)
class Task:
    """One kind of target.

    Attributes:
        meaning: the values of the target's column, for people.
        headline: the measure that a line about a model gives (`pipelines.statistics.measures.MEASURES`).
    """

    name: str
    meaning: str
    form: Form
    headline: str

    @property
    def is_number(self) -> bool:
        """Whether the target is a number, without labels."""
        return self.form == "value"

    @property
    def has_positive(self) -> bool:
        """Whether one of two labels is the positive one, so that there is a positive share, and a threshold."""
        return self.form == "probability"

    @property
    def has_many_labels(self) -> bool:
        """Whether each label has a score."""
        return self.form == "probabilities"

    @property
    def labels(self) -> str:
        """Which labels a target has, in words."""
        return _LABELS[self.form][2]

    def takes(self, labels: int) -> bool:
        """Return whether a target may have so many labels."""
        fewest, most, _ = _LABELS[self.form]
        return fewest <= labels <= most

    def scores(self, labels: int) -> int:
        """Return how many scores a row has, by the number of labels."""
        return labels if self.has_many_labels else 1


TASKS = {
    task.name: task
    for task in (
        Task("binary", "one of two values", "probability", headline="roc_auc"),
        Task("multiclass", "one of several", "probabilities", headline="log_loss"),
        Task("regression", "a number", "value", headline="rmse"),
    )
}
