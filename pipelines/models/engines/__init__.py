"""Engines that grow trees, and the chunks and checkpoints by which a training is resumed."""
