"""The stages of dvc.yaml, a package each; they meet in files alone."""
