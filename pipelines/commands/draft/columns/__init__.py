"""Inferences of a draft about single columns."""
