"""`costs`: what runs cost, and what the cache saved."""
