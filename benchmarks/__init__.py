"""Benchmarks: each figure of ours beside its peer or its limit, measured in the same run. See docs/reference/benchmarks.md."""
