"""A first `params.yaml`, drafted from a table, for a person to review."""
