"""Load, servers, ports, processes and workspaces: what benchmarks, drills and tests measure with."""
