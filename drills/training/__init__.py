"""Drills of the training plane: its processes are killed, and its outputs compared."""
