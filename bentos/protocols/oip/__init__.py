"""The Open Inference Protocol: a model's metadata, tensors, and the datatypes of its fields."""
