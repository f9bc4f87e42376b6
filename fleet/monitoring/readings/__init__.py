"""What a fleet's processes have used and answered, read at one moment, and the differences of two such readings."""
