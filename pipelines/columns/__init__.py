"""Columns of tables: kinds, casts, identifiers, and cells that cannot be read."""
