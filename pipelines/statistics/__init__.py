"""Measures, and comparisons of two models by them."""
