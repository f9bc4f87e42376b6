"""The model as a scikit-learn pipeline over a data frame, saved by BentoML as a pickle, as in its tutorials.

python -m benchmarks.peers.naive.pipeline DIRECTORY      (model.ubj and schema.json in it; into the model store of BENTOML_HOME)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin  # noqa: TID253  # its classes are the pickle
from sklearn.pipeline import Pipeline  # noqa: TID253

from benchmarks.peers.bench import encoding

NAME = "naive"


class Features(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """The schema's features, column by column."""

    def __init__(self, schema: encoding.Schema) -> None:
        self.schema = schema

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def transform(self, frame: Any) -> Any:
        """Return the frame's features."""
        return encoding.frame_encoder(self.schema)(frame).to_numpy()


def save(directory: Path) -> None:
    """Save the pipeline to the model store."""
    import bentoml
    import xgboost

    model = xgboost.XGBClassifier(n_jobs=1)
    model.load_model(directory / "model.ubj")
    schema = json.loads((directory / "schema.json").read_bytes())
    bentoml.sklearn.save_model(NAME, Pipeline([("features", Features(schema)), ("model", model)]))


if __name__ == "__main__":
    from benchmarks.peers.naive import pipeline

    pipeline.save(Path(sys.argv[1]))  # imported, not run as __main__, since the pickle names the module of its classes
