"""Columns of tables: kinds, casts, identifiers, and unreadable cells."""
