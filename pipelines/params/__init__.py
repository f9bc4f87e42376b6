"""Frozen models of params.yaml that refuse unknown keys."""
