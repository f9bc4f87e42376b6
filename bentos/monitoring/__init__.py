"""Monitoring of a running replica: metrics, drift, the prediction log and traces."""
