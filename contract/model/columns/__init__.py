"""Columns of values to the matrix, by NumPy, with the results of `contract.model.row_program` row by row."""
