"""Benchmarks: each figure of ours beside its peer or limit, measured in the same run. See docs/reference/benchmarks.md."""
