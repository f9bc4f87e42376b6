"""`python -m pipelines predict`: a table of any size, scored as a server scores the same rows."""
