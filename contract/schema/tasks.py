"""The tasks, their forms of answer, and the objectives of their models.

A task has one of four forms, by which code reads and writes answers:

| form            | an answer has                                        | scores of a row        | outcomes                |
|-----------------|------------------------------------------------------|------------------------|-------------------------|
| `probability`   | `probability` of the second label, `label`           | one, of that label     | 0 or 1                  |
| `probabilities` | `probabilities` by label, the most probable `label`  | one for each label     | the index of the label  |
| `value`         | `value`                                              | one, the value         | the number              |
| `quantiles`     | `quantiles` by level, ascending                      | one for each level     | the number              |

An objective is the loss that training minimises; it says which statistic of the outcome the model estimates.
`pipelines.statistics.tasks` judges models by their objectives.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Form = Literal["probability", "probabilities", "value", "quantiles"]
# Number of labels by form: fewest, most, and in words.
_LABELS: dict[Form, tuple[int, float, str]] = {
    "probability": (2, 2, "two, the negative one first"),
    "probabilities": (3, float("inf"), "three or more"),
    "value": (0, 0, "none"),
    "quantiles": (0, 0, "none"),
}


class Objective(NamedTuple):
    """The loss that training minimises.

    Attributes:
        statistic: of the outcome, which the model estimates.
        outcomes: the numbers that it allows, in words; None for all.
        lowest: the smallest of them; it is one itself unless `above_lowest`.
        parameters: attributes of the target that it reads.
    """

    name: str
    statistic: str
    outcomes: str | None = None
    lowest: float = -math.inf
    above_lowest: bool = False
    parameters: tuple[str, ...] = ()

    def allows(self, smallest: float) -> bool:
        """Return whether an outcome may be as small as this."""
        return smallest > self.lowest if self.above_lowest else smallest >= self.lowest


class Task(NamedTuple):
    """One kind of target.

    Attributes:
        meaning: the values of the target's column, for people.
        headline: the one measure in summaries of a model, unless its objective has its own (`pipelines.statistics.tasks`).
        objectives: the possible ones, the default first.
    """

    name: str
    meaning: str
    form: Form
    headline: str
    objectives: tuple[Objective, ...]

    def objective(self, name: str | None) -> Objective:
        """Return the objective of this name, or the default.

        Raises:
            ValueError: the task has no such objective.
        """
        found = {entry.name: entry for entry in self.objectives}
        if name is None:
            return self.objectives[0]
        if name not in found:
            raise ValueError(f"objective {name!r} does not fit the task {self.name}; allowed: {', '.join(found)}")
        return found[name]

    @property
    def is_number(self) -> bool:
        """True if the target is a number, without labels."""
        return self.form in ("value", "quantiles")

    @property
    def has_positive(self) -> bool:
        """True if one of two labels is the positive one, with a share and a threshold."""
        return self.form == "probability"

    @property
    def has_many_labels(self) -> bool:
        """True if each label has a score."""
        return self.form == "probabilities"

    @property
    def has_quantiles(self) -> bool:
        """True if several quantiles are predicted."""
        return self.form == "quantiles"

    @property
    def labels(self) -> str:
        """The labels of a target, in words."""
        return _LABELS[self.form][2]

    def takes(self, labels: int) -> bool:
        """Return whether a target may have this number of labels."""
        fewest, most, _ = _LABELS[self.form]
        return fewest <= labels <= most


TASKS = {
    task.name: task
    for task in (
        Task("binary", "one of two values", "probability", "roc_auc", (Objective("logistic", "the probability"),)),
        Task("multiclass", "one of several", "probabilities", "log_loss", (Objective("softmax", "the probabilities"),)),
        Task(
            "regression",
            "a number",
            "value",
            "rmse",
            (
                Objective("squared_error", "the mean"),
                Objective("absolute_error", "the median"),
                Objective("huber", "a mean in which large errors count less", parameters=("slope",)),
                Objective("poisson", "the mean of a count", "numbers from 0", 0.0),
                Objective("gamma", "the mean of a skewed number", "numbers above 0", 0.0, above_lowest=True),
                Objective(
                    "tweedie",
                    "the mean of a skewed number with many zeros",
                    "numbers from 0",
                    0.0,
                    parameters=("power",),
                ),
            ),
        ),
        Task(
            "quantiles",
            "a number, of which several quantiles are predicted",
            "quantiles",
            "pinball_loss",
            (Objective("pinball", "the quantiles", parameters=("quantiles",)),),
        ),
    )
}
