"""Families of models: one module each, and what they are made of."""
