"""The peers of the benchmarks: the usual servers around the same model, and the limits. Each runs in an environment of its own."""
