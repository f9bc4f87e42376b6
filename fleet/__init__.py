"""The serving plane's control: replicas, Envoy, and which bundle they serve. Knows bundles and replicas, never data."""
