"""`split`, `evaluate` and `gates` of `params.yaml`: the rows that judge a model, its figures, and the conditions that it must meet."""
