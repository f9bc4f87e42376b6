"""The wall around a replica: another identity, a root of only what serving needs, no network, no new processes."""
