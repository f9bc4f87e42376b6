"""The ML Test Score of this checkout: 28 tests, each decided by a check that runs."""
