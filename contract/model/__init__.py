"""The model of a bundle: rows to features, and features to answers."""
