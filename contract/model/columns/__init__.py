"""Columns of values to the matrix, by NumPy: what `contract.model.row_program` does row by row, from the same parsers and transforms."""
