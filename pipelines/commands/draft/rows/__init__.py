"""Inferences of a draft about the rows: months, periods, the outcome."""
