"""Scaling: how many replicas the load needs, from the requests in flight."""
