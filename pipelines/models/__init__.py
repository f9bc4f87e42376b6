"""Families of models, and what they share: the rows that they learn from, and their export to ONNX."""
