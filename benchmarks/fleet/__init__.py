"""Figures of a fleet, beyond those of one server."""
