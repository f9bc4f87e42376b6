"""The parts of a bundle beside its model: manifest, signature, evidence, limits."""
