"""Figures of the training plane."""
