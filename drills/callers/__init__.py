"""Callers of a drill: good, slow and greedy ones."""
