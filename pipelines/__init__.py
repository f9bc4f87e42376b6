"""The training plane: one folder a stage. Stages meet in the files that `dvc.yaml` names, never by import."""
