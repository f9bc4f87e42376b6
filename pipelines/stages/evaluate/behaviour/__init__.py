"""Expectations of how the score moves, tried on rows with one field changed, through the predictor that serves."""
