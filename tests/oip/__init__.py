"""Does a server keep to the Open Inference Protocol? Clause by clause, for any server: `python -m tests.oip --help`."""
