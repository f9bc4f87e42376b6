"""A fleet as people and Prometheus see it."""
