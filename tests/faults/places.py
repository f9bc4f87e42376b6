"""A directory's name with a space, a letter beyond ASCII and every sign that `contract.environment.places` lets a path have; short."""

ODD = "a 9% (é),'&+@=~!"
