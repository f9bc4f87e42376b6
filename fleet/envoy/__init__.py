"""Envoy: its configuration, its process, and its admin interface."""
