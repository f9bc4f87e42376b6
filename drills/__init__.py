"""Injected faults, each with its counts and the invariant that must hold."""
