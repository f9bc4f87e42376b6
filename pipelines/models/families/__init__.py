"""Families of models: a module each, and the modules that they share."""
