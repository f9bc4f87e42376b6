"""The stages of dvc.yaml, a package each; they share files, never code."""
