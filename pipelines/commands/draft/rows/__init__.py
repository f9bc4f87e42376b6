"""What a draft finds in the rows: months, periods, the outcome."""
