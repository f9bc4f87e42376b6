"""params.yaml, parsed into frozen models that refuse unknown keys."""
