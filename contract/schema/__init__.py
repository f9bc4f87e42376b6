"""The feature schema: fields, their kinds, and the one conversion of their values."""
