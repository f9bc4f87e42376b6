"""The bento of the tutorials: `@bentoml.api`, all settings by default, around a pickled scikit-learn pipeline.

bentoml serve benchmarks.peers.naive.service:Naive      (after benchmarks.peers.naive.pipeline, with the same BENTOML_HOME)
"""

from __future__ import annotations

from typing import Any

import bentoml
import pandas as pd  # noqa: TID253  # as tutorials do

from benchmarks.peers.naive.pipeline import NAME


@bentoml.service
class Naive:
    """A service around the pickled pipeline."""

    def __init__(self) -> None:
        self.model = bentoml.sklearn.load_model(NAME)
        schema = self.model.named_steps["features"].schema
        self.fields = [field["name"] for field in schema["fields"]]
        self.target = schema["target"]

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Score the rows."""
        probabilities = self.model.predict_proba(pd.DataFrame(rows, columns=self.fields))[:, 1].tolist()
        labels, threshold = self.target["labels"], self.target["threshold"]
        return {"predictions": [{"probability": value, "label": labels[value >= threshold]} for value in probabilities]}
