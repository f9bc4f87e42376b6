"""Settings of the machine: environment variables, signing keys, scratch space."""
