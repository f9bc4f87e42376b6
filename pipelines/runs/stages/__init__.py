"""Ways of asking DVC to run stages: those that changed, all of a DAG, or none (a dry run)."""
