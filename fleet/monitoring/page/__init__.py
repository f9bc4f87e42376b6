"""The status page: what serves, how it fares, what was deployed and what it costs, read-only and without a network."""
