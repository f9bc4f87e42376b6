"""The callers of drills: good, slow and greedy."""
