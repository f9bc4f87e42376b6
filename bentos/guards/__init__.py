"""Who may ask, and how much is taken on at once."""
