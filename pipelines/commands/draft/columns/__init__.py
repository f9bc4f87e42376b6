"""What a draft finds in single columns."""
