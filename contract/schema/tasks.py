"""The tasks, and their forms of answer.

A task has one of three forms, by which code reads and writes answers:

| form            | an answer has                                        | scores of a row        | outcomes                |
|-----------------|------------------------------------------------------|------------------------|-------------------------|
| `probability`   | `probability` of the second label, `label`           | one, of that label     | 0 or 1                  |
| `probabilities` | `probabilities` by label, the most probable `label`  | one for each label     | the index of the label  |
| `value`         | `value`                                              | one, the value         | the number              |

`pipelines.statistics.tasks` judges the models of a task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["probability", "probabilities", "value"]
# Number of labels by form: fewest, most, and in words.
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
        headline: the one measure in summaries of a model (`pipelines.statistics.measures.MEASURES`).
    """

    name: str
    meaning: str
    form: Form
    headline: str

    @property
    def is_number(self) -> bool:
        """True if the target is a number, without labels."""
        return self.form == "value"

    @property
    def has_positive(self) -> bool:
        """True if one of two labels is the positive one, with a share and a threshold."""
        return self.form == "probability"

    @property
    def has_many_labels(self) -> bool:
        """True if each label has a score."""
        return self.form == "probabilities"

    @property
    def labels(self) -> str:
        """The labels of a target, in words."""
        return _LABELS[self.form][2]

    def takes(self, labels: int) -> bool:
        """Return whether a target may have this number of labels."""
        fewest, most, _ = _LABELS[self.form]
        return fewest <= labels <= most

    def scores(self, labels: int) -> int:
        """Return the number of scores of a row, by the number of labels."""
        return labels if self.has_many_labels else 1


TASKS = {
    task.name: task
    for task in (
        Task("binary", "one of two values", "probability", headline="roc_auc"),
        Task("multiclass", "one of several", "probabilities", headline="log_loss"),
        Task("regression", "a number", "value", headline="rmse"),
    )
}
