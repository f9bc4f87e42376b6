"""The prediction log in the training plane: from the servers' files to Parquet."""
