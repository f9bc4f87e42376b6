"""What a bundle computes: from a row to its features, and from these to the answer."""
