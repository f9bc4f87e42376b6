"""The judge of a canary: promotes it, rolls it back, or waits, by evidence that may be looked at any time."""
