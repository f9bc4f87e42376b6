"""The bundle store: in a directory, or in a bucket."""
