"""The fleet's side of the bundle store: `python -m fleet.store`."""
