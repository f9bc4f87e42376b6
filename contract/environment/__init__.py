"""Python environments named by the digest of their lock."""
