"""The prediction log on the training side: from the servers' files to Parquet."""
