"""The control of a fleet: its verbs, and the reconciler."""
