"""Faults of a fleet under load."""
