"""Features that are computed from other rows: what had happened and was known before the moment of a prediction."""
