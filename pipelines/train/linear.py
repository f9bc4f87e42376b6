"""The linear baseline: logistic or ridge regression on one-hot categories and scaled numbers, by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema import FeatureSchema

_MISSING = -1.0


def train(matrix: NDArray[np.float32], outcomes: NDArray[Any], schema: FeatureSchema) -> Any:
    """The fitted scikit-learn pipeline; it takes the same float32 matrix as the booster, NaN for missing."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    coded = [index for index, feature in enumerate(schema.features) if feature.transform == "category"]
    numeric = [index for index in range(len(schema.features)) if index not in coded]
    # Every code that the encoder can give: missing, the known categories, and the one for unknown.
    codes = [np.arange(-1, len(schema.features[index].options["categories"]) + 1, dtype=np.float32) for index in coded]
    encode = make_pipeline(SimpleImputer(strategy="constant", fill_value=_MISSING), OneHotEncoder(categories=codes))
    scale = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    model = make_pipeline(
        ColumnTransformer([("coded", encode, coded), ("numeric", scale, numeric)]),
        Ridge() if schema.task == "regression" else LogisticRegression(max_iter=300),
    )
    return model.fit(matrix, outcomes)


def scores(model: Any, matrix: NDArray[np.float32], schema: FeatureSchema) -> NDArray[np.float64]:
    """What the fitted pipeline says, in the shapes of `contract.predictor.Predictor.score_matrix`."""
    if schema.task == "regression":
        predicted: NDArray[np.float64] = model.predict(matrix)
        return predicted
    probabilities: NDArray[np.float64] = model.predict_proba(matrix)
    return probabilities[:, 1] if schema.task == "binary" else probabilities
