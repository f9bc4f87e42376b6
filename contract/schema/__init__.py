"""The feature schema: fields, their kinds, and the conversion of their values."""
