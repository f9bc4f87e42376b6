"""Faults injected for real, each with its counts and the invariant that it must leave standing."""
