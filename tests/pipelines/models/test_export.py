from __future__ import annotations

import os
import subprocess
import sys

from harness import PROJECT

EXPORT = """
import hashlib
import numpy as np
from xgboost import DMatrix, train
from contract.schema.schema import Feature, FeatureSchema, Field, Target
from pipelines.models.families import linear
from pipelines.models.families.trees import booster_to_onnx

schema = FeatureSchema(
    "m", "binary", Target("y", ("no", "yes")), (Field("a", "category"), Field("b", "number")),
    (Feature("a", "category", ("a",), {"categories": ["x", "y"]}), Feature("b", "value", ("b",))),
)
features = np.array([[number % 4 - 1, number * 7 % 11] for number in range(60)], dtype=np.float32)
labels = (features.sum(axis=1) > 6).astype(np.int8)
booster = train({"objective": "binary:logistic"}, DMatrix(features, labels), 3)
for content in (linear.to_onnx(linear.fit(features, labels, schema), schema), booster_to_onnx(booster, 2)):
    print(hashlib.sha256(content).hexdigest())
"""


def test_exports_have_the_same_bytes_whatever_the_seed_of_hashes() -> None:
    def export(seed: int) -> str:
        environment = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(PROJECT)}
        command = [sys.executable, "-c", EXPORT]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    digests = export(0)
    assert len(set(digests.split())) == 2
    assert {export(seed) for seed in range(1, 5)} == {digests}
