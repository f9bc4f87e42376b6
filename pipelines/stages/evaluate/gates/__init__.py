"""The gates: conditions that a model must meet to be bundled, decided from stored predictions alone."""
