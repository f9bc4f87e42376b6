"""The fleet on Kubernetes: manifests, and the verbs that drive a cluster through its API."""
