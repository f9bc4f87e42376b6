"""Show the gates of a model, or decide them again from the stored predictions."""
