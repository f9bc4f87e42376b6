"""Rebuild a published bundle from what its manifest names."""
