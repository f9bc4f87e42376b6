"""Envoy: its configuration, its process, and what it is asked."""
