"""`python -m pipelines compare`: figures and curves of two commits on one page that loads nothing else."""
