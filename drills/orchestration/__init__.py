"""Drills of runs side by side, and of what schedules them."""
