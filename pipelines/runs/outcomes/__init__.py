"""The outcome of a command in a run's workspace: what it did, for the tasks of the DAGs and for people."""
