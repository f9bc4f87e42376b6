"""Figures of the serving plane."""
