"""The verbs of `python -m pipelines` that are no stages of dvc.yaml."""
