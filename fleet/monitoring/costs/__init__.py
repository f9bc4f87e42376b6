"""What the fleet costs: a ledger of its CPU time, memory and predictions, priced when it is shown."""
