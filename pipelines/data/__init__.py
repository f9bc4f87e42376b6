"""The tables between the stages: partitions, splits, and the ledger of batches; pages for people."""
